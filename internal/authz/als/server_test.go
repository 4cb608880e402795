package als

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	accessdatav3 "github.com/envoyproxy/go-control-plane/envoy/data/accesslog/v3"
	alsv3 "github.com/envoyproxy/go-control-plane/envoy/service/accesslog/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/authz"
	"github.com/weft-mesh/weft/internal/grpcserver"
	"github.com/weft-mesh/weft/internal/grpcserver/grpcservertest"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/xds"
)

// doors knows tokens, and whose they are.
type doors map[string]xds.Identity

func (d doors) Authenticate(_ context.Context, token string) (xds.Identity, error) {
	if who, is := d[token]; is {
		return who, nil
	}
	return xds.Identity{}, errors.New("unknown token")
}

func podOf(account string) xds.Identity {
	return xds.Identity{Namespace: "shop", ServiceAccount: account, Pod: account + "-0", PodUID: account, Expires: time.Now().Add(time.Hour)}
}

// soonOver lets all in, each for a second.
type soonOver struct{}

func (soonOver) Authenticate(_ context.Context, token string) (xds.Identity, error) {
	out := podOf(token)
	out.Expires = time.Now().Add(time.Second)
	return out, nil
}

// heardOf are Records that were taken.
type heardOf struct {
	mu  sync.Mutex
	all []authz.Record
}

func (h *heardOf) take(r authz.Record, _ int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all = append(h.all, r)
}

func (h *heardOf) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.all)
}

// serve has a server, and returns a client of it.
func serve(t *testing.T, d xds.Authenticator, take func(authz.Record, int)) alsv3.AccessLogServiceClient {
	t.Helper()
	return alsv3.NewAccessLogServiceClient(grpcservertest.Serve(t, func(c grpcserver.Certificate) grpcservertest.Server {
		return NewServer(Options{Certificate: c, Authenticator: d, Take: take, Claims: func() []string { return []string{"tenant"} }})
	}))
}

// tell sends messages with a token, and returns how the stream ends.
func tell(t *testing.T, c alsv3.AccessLogServiceClient, token string, messages ...*alsv3.StreamAccessLogsMessage) error {
	t.Helper()
	stream, err := c.StreamAccessLogs(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer "+token))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range messages {
		if stream.Send(m) != nil {
			break // why is told at the end
		}
	}
	_, err = stream.CloseAndRecv()
	return err
}

func message(entries ...*accessdatav3.HTTPAccessLogEntry) *alsv3.StreamAccessLogsMessage {
	return &alsv3.StreamAccessLogsMessage{
		Identifier: &alsv3.StreamAccessLogsMessage_Identifier{Node: &corev3.Node{Id: "another pod"}},
		LogEntries: &alsv3.StreamAccessLogsMessage_HttpLogs{HttpLogs: &alsv3.StreamAccessLogsMessage_HTTPAccessLogEntries{LogEntry: entries}},
	}
}

func entryOf(id string) *accessdatav3.HTTPAccessLogEntry {
	return &accessdatav3.HTTPAccessLogEntry{
		Request:  &accessdatav3.HTTPRequestProperties{RequestId: id, Path: "/a?token=x"},
		Response: &accessdatav3.HTTPResponseProperties{ResponseCode: wrapperspb.UInt32(403), ResponseCodeDetails: "rbac_access_denied_matched_policy[none]"},
	}
}

// TestServer: what a proxy tells is of the pod that its token is of, whatever it says; who has no token, or a wrong one, is
// not heard.
func TestServer(t *testing.T) {
	t.Parallel()
	var heard heardOf
	c := serve(t, doors{"cart": podOf("cart")}, heard.take)
	if err := tell(t, c, "cart", message(entryOf("1"), entryOf("2")), message(entryOf("3"))); err != nil {
		t.Fatal(err)
	}
	if heard.count() != 3 {
		t.Fatal(heard.all)
	}
	for _, r := range heard.all {
		if r.Proxy != (authz.Proxy{Namespace: "shop", Pod: "cart-0", ServiceAccount: "cart"}) || r.Verdict != authz.Denied {
			t.Errorf("%+v", r)
		}
	}
	if err := tell(t, c, "somebody", message(entryOf("4"))); status.Code(err) != codes.Unauthenticated || strings.Contains(err.Error(), "somebody") {
		t.Error(err)
	}
	if heard.count() != 3 {
		t.Error("who is unknown was heard")
	}
}

// TestExpired: of whose token expires while it tells, one message more is taken, and then it must begin anew.
func TestExpired(t *testing.T) {
	t.Parallel()
	var heard heardOf
	c := serve(t, soonOver{}, heard.take)
	stream, err := c.StreamAccessLogs(metadata.AppendToOutgoingContext(t.Context(), "authorization", "Bearer cart"))
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(message(entryOf("1"))); err != nil {
		t.Fatal(err)
	}
	for heard.count() == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	time.Sleep(time.Second)
	_ = stream.Send(message(entryOf("2"))) // why it fails is told at the end
	var end alsv3.StreamAccessLogsResponse
	if err := stream.RecvMsg(&end); status.Code(err) != codes.Unauthenticated {
		t.Error(err)
	}
}

// TestHasty: of a pod that tells too much at once the rest is left out, and others are heard.
func TestHasty(t *testing.T) {
	t.Parallel()
	var heard heardOf
	c := serve(t, doors{"cart": podOf("cart"), "web": podOf("web")}, heard.take)
	var many []*accessdatav3.HTTPAccessLogEntry
	for i := range 3 * entriesAtOnce {
		many = append(many, entryOf(fmt.Sprint(i)))
	}
	if err := tell(t, c, "cart", message(many...)); err != nil {
		t.Fatal(err)
	}
	first := heard.count()
	if first < entriesAtOnce || first >= 3*entriesAtOnce {
		t.Errorf("%d of %d were heard", first, len(many))
	}
	if err := tell(t, c, "web", message(entryOf("a"))); err != nil || heard.count() != first+1 {
		t.Errorf("another pod was not heard: %v", err)
	}
}

// TestTooLong: a message that is too long ends its stream, and nothing else.
func TestTooLong(t *testing.T) {
	t.Parallel()
	var heard heardOf
	c := serve(t, doors{"cart": podOf("cart")}, heard.take)
	if err := tell(t, c, "cart", message(entryOf(strings.Repeat("a", maxMessage)))); status.Code(err) != codes.ResourceExhausted {
		t.Error(err)
	}
	if err := tell(t, c, "cart", message(entryOf("1"))); err != nil || heard.count() != 1 {
		t.Error(err, heard.count())
	}
}

func stateOf(t testing.TB, text string) *anypb.Any {
	t.Helper()
	out, err := anypb.New(wrapperspb.String(text))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func fields(t testing.TB, of map[string]any) *structpb.Struct {
	t.Helper()
	out, err := structpb.NewStruct(of)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func address(ip string, port uint32) *corev3.Address {
	return &corev3.Address{Address: &corev3.Address_SocketAddress{SocketAddress: &corev3.SocketAddress{
		Address: ip, PortSpecifier: &corev3.SocketAddress_PortValue{PortValue: port},
	}}}
}

const lawText = `{"trustDomain":"mesh.test","labels":{"app":"cart"},"claims":["groups"],"headers":["x-role","authorization"],"levels":[{"name":"port","claims":"claims","policies":[{"key":"shop/p","digest":"d"}]}]}`

// full is an entry with all that is read, and with much that must not be.
func full(t testing.TB) *accessdatav3.HTTPAccessLogEntry {
	t.Helper()
	told := fmt.Sprintf(`{"law":%q,"method":"GET","path":"/a","host":"Cart:80","headers":{"x-role":"admin","authorization":"Bearer s3cret","x-other":"s3cret"}}`, lawText)
	e := entryOf("id")
	e.CommonProperties = &accessdatav3.AccessLogCommon{
		DownstreamLocalAddress: address("10.0.0.1", 8080), DownstreamDirectRemoteAddress: address("10.0.0.2", 4444),
		RouteName:          "app",
		FilterStateObjects: map[string]*anypb.Any{authz.State: stateOf(t, told)},
		TlsProperties: &accessdatav3.TLSProperties{PeerCertificateProperties: &accessdatav3.TLSProperties_CertificateProperties{
			SubjectAltName: []*accessdatav3.TLSProperties_CertificateProperties_SubjectAltName{
				{San: &accessdatav3.TLSProperties_CertificateProperties_SubjectAltName_Uri{Uri: "spiffe://mesh.test/ns/shop/sa/web"}},
			},
		}},
		Metadata: &corev3.Metadata{FilterMetadata: map[string]*structpb.Struct{
			room.ClaimsNamespace: fields(t, map[string]any{
				"claims":      map[string]any{"groups": []any{"a"}, "tenant": "ten", "email": "s3cret"},
				"claims/port": map[string]any{"groups": "s3cret"},
			}),
			"envoy.filters.http.rbac": fields(t, map[string]any{"enforced_effective_policy_id": "shop/p/nobody", "enforced_engine_result": "denied"}),
			"something":               fields(t, map[string]any{"else": "s3cret"}),
		}},
	}
	return e
}

func readerOf() reader {
	return reader{proxy: authz.Proxy{Namespace: "shop", Pod: "cart-0", ServiceAccount: "cart"}, claims: []string{"tenant"}, now: time.Now().UTC()}
}

// TestEntry: of an entry the Input is read, the claims and headers that are asked for, and nothing that may let somebody
// in.
func TestEntry(t *testing.T) {
	t.Parallel()
	r, size := readerOf().record(full(t))
	text := fmt.Sprintf("%+v %+v %+v %v", r, r.Law, r.Input.Request, r.Tokens)
	if strings.Contains(text, "s3cret") || strings.Contains(text, "?") {
		t.Errorf("it has what it must not: %s", text)
	}
	in := r.Input
	if in.Source.Principal != "spiffe://mesh.test/ns/shop/sa/web" || in.Source.Namespace != "shop" || in.Source.IP != "10.0.0.2" ||
		in.Destination.Port != 8080 || in.Destination.ServiceAccount != "cart" || in.Destination.Labels["app"] != "cart" ||
		in.Request.Method != "GET" || in.Request.Path != "/a" || in.Request.Host != "cart" || in.Request.Headers["x-role"] != "admin" {
		t.Errorf("%+v %+v", in, in.Request)
	}
	if fmt.Sprint(r.Tokens) != "map[claims:map[groups:[a] tenant:ten]]" {
		t.Error(r.Tokens)
	}
	if r.ID != "id" || r.Section != "authorization" || r.Rule != "shop/p/nobody" || r.Verdict != authz.Denied || r.Status != 403 || r.Shadow != nil {
		t.Errorf("%+v", r)
	}
	if fmt.Sprint(r.Cut) != "[request.headers[authorization]]" || size < overhead {
		t.Error(r.Cut, size)
	}
}

// TestEntryCut: what is too long is left out, and said to be.
func TestEntryCut(t *testing.T) {
	t.Parallel()
	e := full(t)
	long := strings.Repeat("a", 10_000)
	told := fmt.Sprintf(`{"law":%q,"method":"GET","path":"/%s","host":"cart","headers":{"x-role":"%s"}}`, lawText, long, long)
	e.CommonProperties.FilterStateObjects[authz.State] = stateOf(t, told)
	e.CommonProperties.Metadata.FilterMetadata[room.ClaimsNamespace] = fields(t, map[string]any{"claims": map[string]any{"groups": long}})
	e.Request.RequestId, e.CommonProperties.RouteName = long, long
	r, size := readerOf().record(e)
	if got := fmt.Sprint(r.Cut); !strings.Contains(got, "request.path") || !strings.Contains(got, "x-role") || !strings.Contains(got, "jwt.claims") || !strings.Contains(got, "id") {
		t.Error(got)
	}
	if size > 20_000 {
		t.Error(size)
	}
}

// TestEntryShadow: what a policy in Shadow would have denied is let in, and named; two names in a certificate are none.
func TestEntryShadow(t *testing.T) {
	t.Parallel()
	e := full(t)
	e.Response = &accessdatav3.HTTPResponseProperties{ResponseCode: wrapperspb.UInt32(200), ResponseCodeDetails: "via_upstream"}
	e.CommonProperties.Metadata.FilterMetadata["envoy.filters.http.rbac"] = fields(t, map[string]any{
		"shadow_engine_result": "denied", "section_shadow_effective_policy_id": "authorization",
		"shadow_effective_policy_id": "shop/tried", "rule_shadow_effective_policy_id": "none",
	})
	names := e.CommonProperties.TlsProperties.PeerCertificateProperties
	names.SubjectAltName = append(names.SubjectAltName, names.SubjectAltName[0])
	r, _ := readerOf().record(e)
	if r.Verdict != authz.Allowed || r.Shadow == nil || *r.Shadow != (authz.Shadow{Result: authz.Denied, Section: "authorization", Policy: "shop/tried", Rule: "none"}) {
		t.Errorf("%+v %+v", r, r.Shadow)
	}
	if r.Input.Source.Principal != "" || r.Input.Source.IP == "" {
		t.Errorf("%+v", r.Input.Source)
	}
}

// TestVerdicts: what the app answers is no denial, whatever its status.
func TestVerdicts(t *testing.T) {
	t.Parallel()
	for details, want := range map[string]struct {
		status  uint32
		verdict authz.Verdict
		section string
	}{
		"via_upstream": {403, authz.Allowed, ""},
		"jwt_authn_access_denied{Jwt_is_missing}": {401, authz.Denied, "jwt"},
		"ext_authz_denied":                        {200, authz.Denied, "extAuth"}, // of gRPC
		"rbac_access_denied_matched_policy[none]": {403, authz.Denied, "trafficTargets"},
		"no_healthy_upstream":                     {503, authz.Allowed, ""},
		"something_new":                           {401, authz.Denied, ""},
	} {
		e := entryOf("a")
		e.Response.ResponseCodeDetails, e.Response.ResponseCode = details, wrapperspb.UInt32(want.status)
		if r, _ := readerOf().record(e); r.Verdict != want.verdict || r.Section != want.section {
			t.Errorf("%s: %s by %q", details, r.Verdict, r.Section)
		}
	}
}

// TestAskedVerdicts: what weft authz denied is told from what a server of somebody's did.
func TestAskedVerdicts(t *testing.T) {
	t.Parallel()
	for _, one := range []struct {
		details       string
		status        uint32
		said          map[string]any
		section, rule string
	}{
		{"ext_authz_denied", 403, map[string]any{"policy": "shop/p", "rule": "rego/deny"}, "authorization", "shop/p/rego/deny"},
		{"ext_authz_denied", 403, map[string]any{"policy": "shop/p", "rule": "none"}, "authorization", ""},
		{"ext_authz_denied", 403, nil, "extAuth", ""},
		{"ext_authz_error", 403, nil, "authorization", ""},
		{"ext_authz_error", 503, nil, "extAuth", ""},
	} {
		e := full(t)
		e.Response.ResponseCodeDetails, e.Response.ResponseCode = one.details, wrapperspb.UInt32(one.status)
		if one.said != nil {
			e.CommonProperties.Metadata.FilterMetadata["envoy.filters.http.ext_authz"] = fields(t, one.said)
		}
		if r, _ := readerOf().record(e); one.details == "ext_authz_denied" && r.Verdict != authz.Denied || r.Section != one.section || r.Rule != one.rule {
			t.Errorf("%+v: %s by %q, %q", one, r.Verdict, r.Section, r.Rule)
		}
	}
}

// FuzzEntry: no entry does harm, and none becomes more than a Record may be.
func FuzzEntry(f *testing.F) {
	for _, e := range []*accessdatav3.HTTPAccessLogEntry{entryOf("a"), full(f), {}} {
		text, err := proto.Marshal(e)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		var e accessdatav3.HTTPAccessLogEntry
		if proto.Unmarshal(text, &e) != nil {
			return
		}
		r, size := readerOf().record(&e)
		if r.Proxy.Namespace != "shop" || size > 1<<20 {
			t.Errorf("%d bytes: %+v", size, r)
		}
	})
}
