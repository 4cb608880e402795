package room

import (
	"cmp"
	"regexp"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/wrapperspb"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

var token = regexp.MustCompile("^[A-Za-z0-9!#$%&'*+.^_`|~-]+$") // RFC 9110, 5.6.2

// HeaderName says whether a header can have that name.
func HeaderName(name string) bool { return token.MatchString(name) }

// Duration is one that is written; unset where none is, or one that is no time.
func Duration(d *gwv1.Duration, unset time.Duration) *durationpb.Duration {
	if length := Length(d); length > 0 {
		return durationpb.New(length)
	}
	return durationpb.New(unset)
}

// Length is zero for a duration that is absent or that the API server would have refused.
func Length(d *gwv1.Duration) time.Duration {
	if d == nil {
		return 0
	}
	parsed, err := time.ParseDuration(string(*d))
	if err != nil {
		return 0
	}
	return max(parsed, 0)
}

// Number is one that is written, no less than 0; unset where none is.
func Number(says *int32, unset uint32) *wrapperspb.UInt32Value {
	if says == nil {
		return wrapperspb.UInt32(unset)
	}
	return wrapperspb.UInt32(uint32(max(*says, 0)))
}

// Hundredths is a Number of 100 at most, as Envoy has shares.
func Hundredths(says *int32, unset uint32) *wrapperspb.UInt32Value {
	n := Number(says, unset)
	n.Value = min(n.Value, 100)
	return n
}

// Statuses are the first one of a range and the one after its last, as Envoy has ranges.
func Statuses(r v1alpha1.StatusRange) (start, end int32) {
	start = min(max(r.Start, 100), 599)
	return start, min(max(*cmp.Or(r.End, &start), start), 599) + 1
}
