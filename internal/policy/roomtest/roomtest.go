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

// Unpack reads a packed message of the type of into.
func Unpack(t testing.TB, from *anypb.Any, into proto.Message) {
	t.Helper()
	if err := from.UnmarshalTo(into); err != nil {
		t.Fatal(err)
	}
}
