//go:build wasip1

// Command module is a module of Proxy-Wasm for tests. What it does to a request, the request's path says.
package main

import (
	"strconv"
	"strings"
	"unsafe"
)

func main() {}

// What Proxy-Wasm has for numbers.
const (
	requestHeaders = 0
	configuration  = 7
	goOn, stop     = 0, 1
	warning        = 3
)

//go:wasmimport env proxy_log
func hostLog(level uint32, text unsafe.Pointer, n uint32) uint32

//go:wasmimport env proxy_add_header_map_value
func hostAdd(kind uint32, k unsafe.Pointer, kn uint32, v unsafe.Pointer, vn uint32) uint32

//go:wasmimport env proxy_replace_header_map_value
func hostReplace(kind uint32, k unsafe.Pointer, kn uint32, v unsafe.Pointer, vn uint32) uint32

//go:wasmimport env proxy_get_header_map_value
func hostGet(kind uint32, k unsafe.Pointer, kn uint32, v, vn unsafe.Pointer) uint32

//go:wasmimport env proxy_get_buffer_bytes
func hostBytes(kind, from, most uint32, v, vn unsafe.Pointer) uint32

//go:wasmimport env proxy_send_local_response
func hostRespond(status uint32, details unsafe.Pointer, dn uint32, body unsafe.Pointer, bn uint32, headers unsafe.Pointer, hn uint32, grpc uint32) uint32

//go:wasmimport env proxy_http_call
func hostCall(to unsafe.Pointer, tn uint32, headers unsafe.Pointer, hn uint32, body unsafe.Pointer, bn uint32, trailers unsafe.Pointer, rn uint32, milliseconds uint32, token unsafe.Pointer) uint32

// kept are what the host was given to write to and has not been read yet.
var kept = map[uintptr][]byte{}

//go:wasmexport proxy_on_memory_allocate
func allocate(n uint32) unsafe.Pointer {
	b := make([]byte, max(n, 1))
	kept[uintptr(unsafe.Pointer(&b[0]))] = b
	return unsafe.Pointer(&b[0])
}

func taken(p unsafe.Pointer, n uint32) string {
	if p == nil {
		return ""
	}
	delete(kept, uintptr(p))
	return strings.Clone(unsafe.String((*byte)(p), n))
}

func at(s string) (unsafe.Pointer, uint32) {
	return unsafe.Pointer(unsafe.StringData(s)), uint32(len(s))
}

func header(name string) string {
	k, kn := at(name)
	var p unsafe.Pointer
	var n uint32
	hostGet(requestHeaders, k, kn, unsafe.Pointer(&p), unsafe.Pointer(&n))
	return taken(p, n)
}

func set(with func(uint32, unsafe.Pointer, uint32, unsafe.Pointer, uint32) uint32, name, value string) {
	k, kn := at(name)
	v, vn := at(value)
	with(requestHeaders, k, kn, v, vn)
}

//go:wasmexport proxy_abi_version_0_2_1
func abi() {}

//go:wasmexport proxy_on_context_create
func create(_, _ uint32) {}

//go:wasmexport proxy_on_vm_start
func start(_, _ uint32) uint32 { return 1 }

// config is what it was configured with.
var config string

// A config with "refuse" in it is not accepted.
//
//go:wasmexport proxy_on_configure
func configure(_, n uint32) uint32 {
	var p unsafe.Pointer
	var got uint32
	hostBytes(configuration, 0, n, unsafe.Pointer(&p), unsafe.Pointer(&got))
	if config = taken(p, got); strings.Contains(config, "refuse") {
		return 0
	}
	return 1
}

var hoard [][]byte

//go:wasmexport proxy_on_request_headers
func onRequest(_, _, _ uint32) uint32 {
	set(hostAdd, "x-wasm", "ran"+config)
	switch path := header(":path"); {
	case strings.HasPrefix(path, "/crash"):
		panic("as asked")
	case path == "/moves":
		set(hostReplace, ":path", "/elsewhere")
	case path == "/stays":
		set(hostReplace, ":path", "/stays/there")
	case path == "/host":
		set(hostReplace, ":authority", "other.test")
	case path == "/refused":
		hostRespond(403, nil, 0, nil, 0, nil, 0, ^uint32(0))
		return stop
	case path == "/hoards":
		for range 1000 {
			hoard = append(hoard, make([]byte, 1<<20))
			hoard[len(hoard)-1][0] = 1
		}
	case path == "/calls":
		to, tn := at("a")
		none := []byte{0, 0, 0, 0}
		var token uint32
		result := hostCall(to, tn, unsafe.Pointer(&none[0]), 4, nil, 0, unsafe.Pointer(&none[0]), 4, 1000, unsafe.Pointer(&token))
		set(hostAdd, "x-call", strconv.Itoa(int(result)))
	case path == "/logs":
		text, n := at("as asked")
		hostLog(warning, text, n)
	}
	return goOn
}
