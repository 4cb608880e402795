// Package roomtest has what tests of several rooms need.
package roomtest

import (
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"sigs.k8s.io/yaml"
)

// Written is a section as somebody writes it, in YAML.
func Written[S any](t testing.TB, text string) *S {
	t.Helper()
	s := new(S)
	if err := yaml.UnmarshalStrict([]byte(text), s); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return s
}

// Module is a module of Proxy-Wasm that does nothing.
const Module = "\x00asm\x01\x00\x00\x00" +
	"\x01\x09\x02\x60\x00\x00\x60\x01\x7f\x01\x7f" + // two types of functions
	"\x03\x03\x02\x00\x01" + // a function of each
	"\x05\x03\x01\x00\x01" + // a page of memory
	"\x07\x2d\x03\x17proxy_abi_version_0_2_1\x00\x00\x06malloc\x00\x01\x06memory\x02\x00" +
	"\x0a\x09\x02\x02\x00\x0b\x04\x00\x41\x00\x0b" // what they do

// Unpack reads a packed message of the type of into.
func Unpack(t testing.TB, from *anypb.Any, into proto.Message) {
	t.Helper()
	if err := from.UnmarshalTo(into); err != nil {
		t.Fatal(err)
	}
}
