package extensions

import (
	"strings"
	"testing"

	routev3 "github.com/envoyproxy/go-control-plane/envoy/config/route/v3"
	compositev3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/composite/v3"
	httpwasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/envoytest"
	"github.com/weft-mesh/weft/internal/policy/room"
	"github.com/weft-mesh/weft/internal/policy/roomtest"
	"github.com/weft-mesh/weft/internal/wasm"
)

const modules = `[{name: a, wasm: {configMapRef: {name: modules, key: a.wasm}, config: {x: [1]}}}, {name: b, failOpen: true, wasm: {remote: {url: "http://m/b.wasm", sha256: "00"}}},
{name: c, lua: {source: x}}]`

func TestModulesAreReferredTo(t *testing.T) {
	refs := refers(written(t, modules).Says)
	a, b := refs[0], refs[1]
	if a.Field != "[0].wasm.configMapRef" || a.ConfigMap != "modules" || a.Key != "a.wasm" || !a.Binary || a.Remote != (room.Remote{}) {
		t.Errorf("%+v", a)
	}
	if b.Field != "[1].wasm.remote" || b.ConfigMap != "" || b.Remote != (room.Remote{URL: "http://m/b.wasm", SHA256: "00"}) || room.ParseRemote(b.Remote.Key()) != b.Remote {
		t.Errorf("%+v", b)
	}
}

// TestApart: Routes name the filter of a policy that has a module, and only that has it.
func TestApart(t *testing.T) {
	if w := written(t, modules); !Section.IsApart(w.Says) || Section.IsApart(written(t, four).Says) {
		t.Error("what has a module is apart, and nothing else")
	}
	w := written(t, modules)
	w.Apart = "policy/a"
	r := forward()
	extend(w, nil, r)
	route := &compositev3.CompositePerRoute{}
	roomtest.Unpack(t, r.TypedPerFilterConfig["policy/a"], route)
	action := &compositev3.ExecuteFilterAction{}
	roomtest.Unpack(t, route.Matcher.OnNoMatch.GetAction().TypedConfig, action)
	if r.GetDirectResponse() != nil || action.FilterChainName != all || action.FilterChain != nil {
		t.Errorf("%v", r)
	}
	answered := &routev3.Route{Action: &routev3.Route_DirectResponse{DirectResponse: &routev3.DirectResponseAction{Status: 404}}}
	if extend(w, nil, answered); answered.TypedPerFilterConfig != nil {
		t.Errorf("what answers by itself: %v", answered)
	}
	alone := w
	alone.Says = new((*w.Says)[:1])
	there := room.Referent{Text: roomtest.Module}
	for _, c := range []struct {
		says  room.Written[[]v1alpha1.Extension]
		found []room.Referent
		names string
	}{
		{alone, []room.Referent{there}, "lua wasm lua"},
		{alone, []room.Referent{{Problem: "no"}}, "lua"},
		{w, []room.Referent{there, there, {Text: "x"}}, "lua"}, // none has others beside it
	} {
		var names []string
		for _, f := range apart(c.says, c.found).(*compositev3.Composite).NamedFilterChains[all].TypedConfig {
			names = append(names, strings.TrimPrefix(f.Name, "envoy.filters.http."))
		}
		if got := strings.Join(names, " "); got != c.names {
			t.Errorf("of %d: %s, want %s", len(*c.says.Says), got, c.names)
		}
	}
}

// TestRuns: what a module may do, and what becomes of a crash.
func TestRuns(t *testing.T) {
	w := written(t, modules)
	closed, open := runs("shop/a", (*w.Says)[0], roomtest.Module).Config, runs("shop/a", (*w.Says)[1], roomtest.Module).Config
	if closed.FailurePolicy != wasmv3.FailurePolicy_FAIL_RELOAD || open.FailurePolicy != wasmv3.FailurePolicy_FAIL_OPEN || closed.Name != "shop/a/a" || open.Name != "shop/a/b" {
		t.Errorf("%v, %v", closed, open)
	}
	said := &wrapperspb.StringValue{}
	if roomtest.Unpack(t, closed.Configuration, said); said.Value != `{"x":[1]}` || open.Configuration != nil {
		t.Errorf("%v", said)
	}
	vm := closed.GetVmConfig()
	m, err := wasm.Parse(string(vm.Code.GetLocal().GetInlineBytes()))
	if err != nil || m.Memory != (wasm.Limits{Least: 1, Most: maxPages, Bounded: true}) {
		t.Errorf("%+v: %v", m, err)
	}
	if vm.VmId == open.GetVmConfig().VmId || vm.Runtime != "envoy.wasm.runtime.v8" || vm.EnvironmentVariables != nil {
		t.Errorf("%v", vm.VmId)
	}
	may := vm.CapabilityRestrictionConfig.AllowedCapabilities
	for name, want := range map[string]bool{"proxy_on_request_headers": true, "proxy_log": true, "fd_write": true, "proxy_http_call": false, "proxy_grpc_call": false, "proxy_call_foreign_function": false, "proxy_define_metric": false, "proxy_clear_route_cache": false, "path_open": false} {
		if _, has := may[name]; has != want {
			t.Errorf("%s: %t", name, has)
		}
	}
	if err := (&httpwasmv3.Wasm{Config: closed}).ValidateAll(); err != nil {
		t.Error(err)
	}
}

func TestCheckModule(t *testing.T) {
	real := string(envoytest.Module(t))
	for text, want := range map[string]string{
		roomtest.Module: "",
		real:            "",
		"<html>":        "magic number",
		real[:1000]:     "cut off",
		strings.Replace(roomtest.Module, "version_0_2_1", "version_0_3_0", 1):                   "proxy_abi_version_0_2_1",
		strings.Replace(roomtest.Module, "malloc", "nalloc", 1):                                 "proxy_on_memory_allocate",
		strings.Replace(roomtest.Module, "malloc\x00", "malloc\x02", 1):                         "proxy_on_memory_allocate",
		strings.Replace(real, "proxy_http_call", "proxy_http_cast", 1):                          `imports "proxy_http_cast" of "env"`,
		strings.Replace(roomtest.Module, "\x05\x03\x01\x00\x01", "\x05\x04\x01\x00\x81\x08", 1): "64 MiB",
		roomtest.Module + "\x00\x81\x80\x80\x04" + strings.Repeat("x", MaxModule):               "more than 8388608 bytes",
	} {
		if got := checkModule(text); (got == "") != (want == "") || !strings.Contains(got, want) {
			t.Errorf("%.80q: %q, want %q", text, got, want)
		}
	}
}

// FuzzCheckModule: what is well is so too as proxies get it.
func FuzzCheckModule(f *testing.F) {
	f.Add(roomtest.Module)
	f.Fuzz(func(t *testing.T, text string) {
		if checkModule(text) != "" {
			return
		}
		given := runs("a/b", v1alpha1.Extension{Wasm: &v1alpha1.Wasm{}}, text).Config.GetVmConfig().Code.GetLocal().GetInlineBytes()
		if problem := checkModule(string(given)); problem != "" && len(text) < MaxModule-10 {
			t.Error(problem)
		}
	})
}
