package extensions

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"strings"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	luav3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/lua/v3"
	httpwasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/http/wasm/v3"
	wasmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/wasm/v3"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/wasm"
	"github.com/weft-mesh/weft/internal/wire"
)

const (
	// MaxModule is how many bytes a module may have: each proxy whose requests meet it gets it once.
	MaxModule = 8 << 20
	// maxPages is how much memory it may have, in each thread of each proxy: 64 MiB.
	maxPages = 1024
)

// callbacks are what a module may export, and calls what it may use of what it imports.
var (
	callbacks = words(`on_memory_allocate on_context_create on_vm_start on_configure on_tick on_done on_log on_delete
		on_request_headers on_request_body on_request_trailers on_response_headers on_response_body on_response_trailers`)
	calls = words(`log get_log_level get_status get_configuration get_property set_property send_local_response
		continue_request continue_response continue_stream close_stream get_shared_data set_shared_data
		get_buffer_bytes get_buffer_status set_buffer_bytes add_header_map_value get_header_map_value
		replace_header_map_value remove_header_map_value get_header_map_pairs set_header_map_pairs get_header_map_size
		set_tick_period_milliseconds get_current_time_nanoseconds set_effective_context done`)
	system = words(`args_get args_sizes_get environ_get environ_sizes_get clock_time_get random_get proc_exit
		sched_yield poll_oneoff fd_write fd_close fd_seek fd_fdstat_get fd_fdstat_set_flags fd_prestat_get fd_prestat_dir_name`)
)

// Proxies have these too. To a module that uses one they answer with an error: SDKs import some that nobody calls.
var (
	deniedCalls = words(`clear_route_cache http_call grpc_call grpc_stream grpc_send grpc_close grpc_cancel
		register_shared_queue resolve_shared_queue enqueue_shared_queue dequeue_shared_queue
		define_metric increment_metric record_metric get_metric call_foreign_function`)
	deniedSystem = words(`fd_read fd_pread fd_pwrite fd_readdir fd_advise fd_allocate fd_datasync fd_sync fd_tell fd_renumber
		fd_filestat_get fd_filestat_set_size fd_filestat_set_times fd_fdstat_set_rights path_open path_create_directory
		path_filestat_get path_filestat_set_times path_link path_readlink path_remove_directory path_rename path_symlink
		path_unlink_file sock_accept sock_recv sock_send sock_shutdown`)
)

func words(text string) []string { return strings.Fields(text) }

const abiVersion = "proxy_abi_version_0_"

// known says whether proxies have what a module imports.
func known(i wasm.Import) bool {
	if i.Kind != wasm.Function {
		return false
	}
	switch i.Module {
	case "env":
		name, is := strings.CutPrefix(i.Name, "proxy_")
		return is && (slices.Contains(calls, name) || slices.Contains(deniedCalls, name)) || i.Name == "pthread_equal" || i.Name == "emscripten_notify_memory_growth"
	case "wasi_snapshot_preview1", "wasi_unstable":
		return slices.Contains(system, i.Name) || slices.Contains(deniedSystem, i.Name)
	}
	return false
}

// checkModule says what is wrong with a module.
func checkModule(text string) (problem string) {
	if len(text) > MaxModule {
		return fmt.Sprintf("has more than %d bytes: strip it of what it does not need, or use extProc", MaxModule)
	}
	m, err := wasm.Parse(text)
	if err != nil {
		return err.Error()
	}
	for _, i := range m.Imports {
		if !known(i) {
			return fmt.Sprintf("imports %q of %q, which proxies do not have: build it for Proxy-Wasm, ABI 0.2.1", i.Name, i.Module)
		}
	}
	is := func(name string) bool { kind, has := m.Exports[name]; return has && kind == wasm.Function }
	versions := slices.DeleteFunc(slices.Sorted(maps.Keys(m.Exports)), func(name string) bool { return !strings.HasPrefix(name, "proxy_abi_version_") })
	switch {
	case len(versions) != 1 || !slices.Contains([]string{abiVersion + "1_0", abiVersion + "2_0", abiVersion + "2_1"}, versions[0]):
		return "exports no function proxy_abi_version_0_2_1, nor that of 0.2.0 or 0.1.0, or several of them: build it for Proxy-Wasm, ABI 0.2.1"
	case !is("malloc") && !is("proxy_on_memory_allocate"):
		return "exports neither function proxy_on_memory_allocate nor malloc: build it for Proxy-Wasm, as a library (a reactor) and not as a program"
	case m.Memory.Least > maxPages:
		return fmt.Sprintf("begins with %d pages of memory, of which it may have %d at most, 64 MiB", m.Memory.Least, maxPages)
	}
	return ""
}

// runs is the filter of a module. Proxies have one machine per thread for each extension.
func runs(policy string, e v1alpha1.Extension, text string) *httpwasmv3.Wasm {
	m, err := wasm.Parse(text)
	if err != nil { // which is checked
		m = &wasm.Module{}
	}
	bound := m.Within(maxPages)
	out := &wasmv3.PluginConfig{
		Name: policy + "/" + e.Name, RootId: e.Name,
		Vm: &wasmv3.PluginConfig_VmConfig{VmConfig: &wasmv3.VmConfig{
			VmId:                        fmt.Sprintf("%s/%s@%x", policy, e.Name, sha256.Sum256([]byte(bound))),
			Runtime:                     "envoy.wasm.runtime.v8",
			Code:                        &corev3.AsyncDataSource{Specifier: &corev3.AsyncDataSource_Local{Local: &corev3.DataSource{Specifier: &corev3.DataSource_InlineBytes{InlineBytes: []byte(bound)}}}},
			CapabilityRestrictionConfig: allowed(),
		}},
		Configuration: configuration(e.Wasm),
		FailurePolicy: wasmv3.FailurePolicy_FAIL_RELOAD,
	}
	if e.FailOpen {
		out.FailurePolicy = wasmv3.FailurePolicy_FAIL_OPEN
	}
	return &httpwasmv3.Wasm{Config: out}
}

func configuration(w *v1alpha1.Wasm) *anypb.Any {
	if w.Config == nil {
		return nil
	}
	return wire.Any(wrapperspb.String(string(w.Config.Raw)))
}

func allowed() *wasmv3.CapabilityRestrictionConfig {
	out := map[string]*wasmv3.SanitizationConfig{}
	for _, name := range slices.Concat(callbacks, calls) {
		out["proxy_"+name] = &wasmv3.SanitizationConfig{}
	}
	for _, name := range system {
		out[name] = &wasmv3.SanitizationConfig{}
	}
	return &wasmv3.CapabilityRestrictionConfig{AllowedCapabilities: out}
}

// A module that changes a header of a request has Envoy choose the route anew, which the checks of the first one
// were passed for. So what would come to another one is stopped: notes are taken before, and compared after.
const (
	takesNotes = `local function route(handle)
  return handle:streamInfo():routeName() .. " " .. (handle:headers():get(":authority") or "")
end
function envoy_on_request(handle)
  handle:streamInfo():dynamicMetadata():set("weft.extensions", "route", route(handle))
end
`
	comparesNotes = `local function route(handle)
  handle:metadata() -- has the route chosen, if the choice was forgotten
  return handle:streamInfo():routeName() .. " " .. (handle:headers():get(":authority") or "")
end
function envoy_on_request(handle)
  local was = (handle:streamInfo():dynamicMetadata():get("weft.extensions") or {}).route
  local ok, is = pcall(route, handle)
  if not ok or was ~= is then
    handle:logErr("%s: a module has a request take another route, or another host: answered 500")
    handle:respond({[":status"] = "500"}, "")
  end
end
`
	refuses = `function envoy_on_request(handle)
  handle:respond({[":status"] = "500"}, "")
end
`
)

// ours is a script of Weft's own.
func ours(text string) *corev3.TypedExtensionConfig {
	return wire.Extension("envoy.filters.http.lua", &luav3.Lua{DefaultSourceCode: inline(text), ClearRouteCache: wrapperspb.Bool(false), SharedVmId: "weft"})
}
