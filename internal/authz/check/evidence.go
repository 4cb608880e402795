package check

import (
	"strings"

	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/weft-mesh/weft/internal/opa"
	"github.com/weft-mesh/weft/internal/policy/authorization"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/wire"
)

// questionIn is what a proxy asks about a request.
func questionIn(asked *authv3.CheckRequest) string {
	return written(asked, authorization.AskedNamespace)[authorization.QuestionField].GetStringValue()
}

// written are the fields of a namespace that filters before have written of the request.
func written(asked *authv3.CheckRequest, namespace string) map[string]*structpb.Value {
	return asked.GetAttributes().GetMetadataContext().GetFilterMetadata()[namespace].GetFields()
}

// evidence is the request as the proxy sees it.
func evidence(asked *authv3.CheckRequest, gateway bool) opa.Evidence {
	verified, said := written(asked, room.ClaimsNamespace), written(asked, wire.RBAC)
	return opa.Evidence{
		Input:   input(asked.GetAttributes(), gateway),
		Claims:  func(key string) map[string]any { return verified[key].GetStructValue().AsMap() },
		Allowed: func(says string) bool { return said[wire.Result(says)].GetStringValue() == "allowed" },
	}
}

// input is what OPA is asked of it. A caller has one name: who has more was turned away by the proxy. At a Gateway nobody
// has.
func input(of *authv3.AttributeContext, gateway bool) (out opa.Input) {
	if !gateway {
		out.Source, _ = opa.SourceOf(of.GetSource().GetPrincipal())
	}
	out.Source.IP = of.GetSource().GetAddress().GetSocketAddress().GetAddress()
	out.Destination.Port = int32(of.GetDestination().GetAddress().GetSocketAddress().GetPortValue())
	asked := of.GetRequest().GetHttp()
	if asked == nil {
		return out
	}
	path, _, _ := strings.Cut(asked.GetPath(), "?")
	headers := map[string][]string{}
	for name, value := range asked.GetHeaders() {
		if !strings.HasPrefix(name, ":") {
			headers[name] = []string{value}
		}
	}
	out.Request = opa.RequestOf(asked.GetMethod(), path, asked.GetHost(), headers)
	at := of.GetRequest().GetTime().AsTime().UTC()
	out.Time = opa.Moment{Hour: at.Hour(), Weekday: int(at.Weekday())}
	return out
}
