package check

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/weft-mesh/weft/internal/grpcserver"
	"github.com/weft-mesh/weft/internal/grpcserver/grpcservertest"
	"github.com/weft-mesh/weft/internal/opa"
	"github.com/weft-mesh/weft/internal/policy/authorization"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/wire"
	"github.com/weft-mesh/weft/internal/xds"
)

// doors lets in whoever has the token good, and counts how often it is asked.
type doors struct{ asked atomic.Int32 }

func (d *doors) Authenticate(_ context.Context, token string) (xds.Identity, error) {
	d.asked.Add(1)
	if token != "good" {
		return xds.Identity{}, errors.New("unknown token")
	}
	return xds.Identity{Namespace: "shop", Pod: "cart-0", PodUID: "a", Expires: time.Now().Add(time.Hour)}, nil
}

func serve(t *testing.T, d xds.Authenticator) authv3.AuthorizationClient {
	t.Helper()
	return authv3.NewAuthorizationClient(grpcservertest.Serve(t, func(c grpcserver.Certificate) grpcservertest.Server {
		return NewServer(Options{Certificate: c, Authenticator: d})
	}))
}

func as(t *testing.T, token string) context.Context {
	t.Helper()
	return metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token)
}

func fields(t *testing.T, of map[string]any) *structpb.Struct {
	t.Helper()
	out, err := structpb.NewStruct(of)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

const module = `package weft.v1
allow if { input.source.namespace == "ops"; lower(input.request.headers["x-a"]) == "yes" }
allow if { some g in input.jwt.claims.groups; g == "admin"; input.destination.port == 8080; input.destination.labels.team == "a" }
allow if { input.time.hour == 7; count(input.request.segments) == 3 }
deny if lower(input.request.path) == "/no"`

func questionOf(says string, modules ...*opa.Module) opa.Question {
	return opa.Question{Levels: []opa.AskedLevel{{Says: says, Claims: room.Claims, Modules: modules}}}
}

func moduleOf(text string) *opa.Module {
	return &opa.Module{Policy: "shop/p", Text: text, Written: true, To: opa.Receiver{Labels: map[string]string{"team": "a"}}}
}

// asking is a question about a request as Envoy writes it.
func asking(t *testing.T, question, method, path string, headers map[string]string, groups ...any) *authv3.CheckRequest {
	t.Helper()
	socket := func(port uint32) *corev3.Address {
		return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{Address: "10.0.0.1", PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port}}}}
	}
	return &authv3.CheckRequest{Attributes: &authv3.AttributeContext{
		Source:      &authv3.AttributeContext_Peer{Address: socket(4000), Principal: "spiffe://mesh.test/ns/ops/sa/a"},
		Destination: &authv3.AttributeContext_Peer{Address: socket(8080)},
		Request: &authv3.AttributeContext_Request{
			Time: timestamppb.New(time.Date(2026, 1, 1, 8, 0, 0, 0, time.UTC)),
			Http: &authv3.AttributeContext_HttpRequest{Method: method, Path: path, Host: "Cart:80", Headers: headers},
		},
		MetadataContext: &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
			authorization.AskedNamespace: fields(t, map[string]any{authorization.QuestionField: question}),
			room.ClaimsNamespace:         fields(t, map[string]any{room.Claims: map[string]any{"groups": groups}}),
			"envoy.filters.http.rbac":    fields(t, map[string]any{wire.Result("sure"): "allowed"}),
		}},
	}}
}

// TestCheck: the answer is what the modules say of the request as the proxy sees it; what denies counts before what Envoy has
// let in by.
func TestCheck(t *testing.T) {
	t.Parallel()
	c := serve(t, &doors{})
	q := func(says string) string { return questionOf(says, moduleOf(module)).Text() }
	gateway := questionOf("unsure", moduleOf(module))
	gateway.Gateway = true
	for what, one := range map[string]struct {
		asked *authv3.CheckRequest
		want  string
	}{
		"a header":             {asking(t, q("unsure"), "GET", "/a?b", map[string]string{"x-a": "YES"}), ""},
		"another":              {asking(t, q("unsure"), "GET", "/a", map[string]string{"x-a": "no", ":path": "/a"}), "none"},
		"none":                 {asking(t, q("unsure"), "GET", "/a", nil), "none"},
		"a claim":              {asking(t, q("unsure"), "GET", "/a", nil, "x", "admin"), ""},
		"another claim":        {asking(t, q("unsure"), "GET", "/a", nil, "x"), "none"},
		"sure":                 {asking(t, q("sure"), "GET", "/a", nil), ""},
		"sure, and denied":     {asking(t, q("sure"), "GET", "/No?x=1", nil), "rego/deny"},
		"of denying only":      {asking(t, q(""), "GET", "/a", nil), ""},
		"a caller of Gateways": {asking(t, gateway.Text(), "GET", "/a", map[string]string{"x-a": "YES"}), "none"},
		"another level too": {asking(t, opa.Question{Levels: []opa.AskedLevel{
			{Says: "sure", Modules: []*opa.Module{moduleOf(module)}}, {Says: "unsure", Modules: []*opa.Module{moduleOf(module)}}}}.Text(), "GET", "/a", nil, "admin"), "none"},
		"of two policies one": {asking(t, questionOf("unsure", moduleOf("package weft.v1"), moduleOf(module)).Text(), "GET", "/a", nil, "admin"), ""},
		"rules":               {asking(t, questionOf("unsure", &opa.Module{Policy: "shop/p", Text: "package weft.policy\nallow if { input.request.method == \"GET\" }"}).Text(), "GET", "/a", nil), ""},
	} {
		got, err := c.Check(as(t, "good"), one.asked)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		if (got.Status.Code == 0) != (one.want == "") || got.DynamicMetadata.GetFields()["rule"].GetStringValue() != one.want {
			t.Errorf("%s: %v, want %q", what, got, one.want)
		}
	}
}

// TestNoAnswer: who does not prove who it is, and what is none of our questions, gets no answer; nor what takes OPA too long.
func TestNoAnswer(t *testing.T) {
	t.Parallel()
	c := serve(t, &doors{})
	slow := "package weft.v1\nn := [" + strings.Repeat("1,", 300) + "1]\nallow if { some a in n; some b in n; some c in n; some d in n; a + b + c + d == 5; input.request.method == \"GET\" }"
	for what, one := range map[string]struct {
		token, question string
		want            codes.Code
	}{
		"another's token":  {"bad", questionOf("", moduleOf(module)).Text(), codes.Unauthenticated},
		"no question":      {"good", "", codes.InvalidArgument},
		"no module":        {"good", questionOf("", moduleOf("package a")).Text(), codes.InvalidArgument},
		"another package":  {"good", questionOf("", &opa.Module{Text: "package a\nallow if true"}).Text(), codes.InvalidArgument},
		"a call elsewhere": {"good", questionOf("", &opa.Module{Text: "package weft.policy\nallow if http.send({})"}).Text(), codes.InvalidArgument},
		"too slow":         {"good", questionOf("x", moduleOf(slow)).Text(), codes.DeadlineExceeded},
	} {
		got, err := c.Check(as(t, one.token), asking(t, one.question, "GET", "/", nil))
		if status.Code(err) != one.want {
			t.Errorf("%s: %v %v", what, got, err)
		}
	}
	if got, err := c.Check(as(t, "good"), &authv3.CheckRequest{}); status.Code(err) != codes.InvalidArgument {
		t.Errorf("nothing: %v %v", got, err)
	}
	if got, err := c.Check(t.Context(), &authv3.CheckRequest{}); status.Code(err) != codes.Unauthenticated {
		t.Errorf("nobody: %v %v", got, err)
	}
}

// TestTokensAreBelieved: the API server is not asked with each question.
func TestTokensAreBelieved(t *testing.T) {
	t.Parallel()
	d := &doors{}
	c := serve(t, d)
	for range 20 {
		if _, err := c.Check(as(t, "good"), asking(t, questionOf("sure", moduleOf(module)).Text(), "GET", "/", nil)); err != nil {
			t.Fatal(err)
		}
	}
	if n := d.asked.Load(); n != 1 {
		t.Errorf("the API server was asked %d times", n)
	}
}

// FuzzCheck: no question does harm, and none that cannot be read is answered.
func FuzzCheck(f *testing.F) {
	f.Add(questionOf("", moduleOf(module)).Text(), "GET", "/a")
	f.Add(`{"levels":[{"says":"a","modules":[]}]}`, "", "")
	f.Add(`{"levels":[{"modules":[null]}]}`, "", "")
	s := NewServer(Options{})
	f.Fuzz(func(t *testing.T, question, method, path string) {
		asked := asking(t, strings.ToValidUTF8(question, ""), method, path, nil)
		ctx, cancel := context.WithTimeout(t.Context(), longest)
		defer cancel()
		if said, err := s.Answer(ctx, asked); err != nil && said.Allowed {
			t.Error(fmt.Errorf("let in by no answer: %w", err))
		}
	})
}
