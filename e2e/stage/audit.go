package stage

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"
)

// Write is one change that an account of Weft's asked the API server for.
type Write struct {
	At                           time.Time
	User, Verb                   string
	Group, Resource, Subresource string
	Namespace, Name              string
	Code                         int // of the answer
}

func (w Write) String() string {
	return fmt.Sprintf("%s %s %s %s/%s by %s: %d", w.At.UTC().Format("15:04:05.000"), w.Verb,
		strings.Trim(w.Resource+"/"+w.Subresource, "/"), w.Namespace, w.Name, w.User, w.Code)
}

// Election tells whether a write is one by which a leader stays it: the only kind that goes on when
// nothing happens.
func (w Write) Election() bool { return w.Resource == "leases" && w.Namespace == System }

// auditEvent is what is read of a line of the API server's record.
type auditEvent struct {
	Verb string
	User struct{ Username string }

	ObjectRef struct{ APIGroup, Resource, Subresource, Namespace, Name string }

	ResponseStatus           struct{ Code int }
	RequestReceivedTimestamp time.Time
}

// Writes are the changes that Weft's accounts have asked for since the local cluster began.
func (s *Stage) Writes(ctx context.Context) (all []Write, err error) {
	if s.record == "" {
		if s.record, err = s.Cluster(ctx, "audit-log"); err != nil {
			return nil, err
		}
	}
	text, err := os.ReadFile(s.record)
	if err != nil {
		return nil, fmt.Errorf("read what the API server recorded: %w", err)
	}
	for line := range strings.Lines(string(text)) {
		if !strings.HasSuffix(line, "\n") {
			break // it is being written
		}
		var e auditEvent
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			return nil, fmt.Errorf("read what the API server recorded: %w", err)
		}
		all = append(all, Write{e.RequestReceivedTimestamp, e.User.Username, e.Verb, e.ObjectRef.APIGroup, e.ObjectRef.Resource,
			e.ObjectRef.Subresource, e.ObjectRef.Namespace, e.ObjectRef.Name, e.ResponseStatus.Code})
	}
	return all, nil
}
