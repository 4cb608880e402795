// Package room says what a section of a MeshPolicy is to the rest of the core: what it may be about,
// and how what several policies say in it combines.
//
//	api/v1alpha1/<name>_types.go → internal/policy/<name>: its Section → internal/mesh decides by it
//	                               internal/policy/all.go: its Room    → statuses
package room

import (
	"reflect"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// Kind is what a policy can be about.
type Kind string

// The kinds. All but the first four are objects by name, and have parts by name.
const (
	Mesh           Kind = "Mesh"
	Namespace      Kind = "Namespace"
	ServiceAccount Kind = "ServiceAccount"
	Pods           Kind = "Pods"
	Service        Kind = "Service"
	Gateway        Kind = "Gateway"
	HTTPRoute      Kind = "HTTPRoute"
	GRPCRoute      Kind = "GRPCRoute"
)

// Level is how far in a target lies: the greater, the nearer to one request.
type Level int

// The levels, from outside in.
const (
	AtMesh Level = iota
	AtNamespace
	AtServiceAccount
	AtPods
	AtService // or Gateway
	AtPort    // or listener
	AtRoute
	AtRule
)

var levels = map[Kind]Level{
	Mesh: AtMesh, Namespace: AtNamespace, ServiceAccount: AtServiceAccount, Pods: AtPods,
	Service: AtService, Gateway: AtService, HTTPRoute: AtRoute, GRPCRoute: AtRoute,
}

// LevelOf is the level of a kind, or of a part of it.
func LevelOf(k Kind, part bool) Level {
	if part {
		return levels[k] + 1
	}
	return levels[k]
}

// Written is what one policy says in a section of which the type is S.
type Written[S any] struct {
	Policy string // its key
	Level  Level
	Says   *S
}

// Section is one section of a MeshPolicy.
type Section[S any] struct {
	Name string // of the field in spec
	Of   func(*v1alpha1.MeshPolicySpec) *S
	On   []Kind // what it may be about
	// Shadow says that what it would refuse can be counted, so that it can be tried out.
	Shadow bool
	// Holds is the place of the one that holds among one or more that are written of one thing, in
	// the order of their levels and, in a level, of their age: Innermost, or Tightest.
	Holds func([]Written[S]) int
}

// Decide is what holds of what is written, and by which policy; the zero value if nothing is.
func (s Section[S]) Decide(written []Written[S]) (holds Written[S]) {
	if len(written) > 0 {
		holds = written[s.Holds(written)]
	}
	return holds
}

// Innermost is for sections about traffic: the innermost level wins and, in it, the oldest policy.
func Innermost[S any](written []Written[S]) int {
	best := 0
	for i, w := range written {
		if w.Level > written[best].Level {
			best = i
		}
	}
	return best
}

// Tightest is for sections about security: whatever the levels, the strictest wins.
func Tightest[S any](strictness func(*S) int) func([]Written[S]) int {
	return func(written []Written[S]) int {
		best := 0
		for i, w := range written {
			if strictness(w.Says) > strictness(written[best].Says) {
				best = i
			}
		}
		return best
	}
}

// Room is a Section without its type.
type Room struct {
	Name   string
	On     []Kind
	Shadow bool
	// Has says whether a policy has the section.
	Has func(*v1alpha1.MeshPolicySpec) bool
	// Contest tells, of one or more policies that have the section, which holds, and which of them
	// say something else than that one.
	Contest func([]Entry) (holds int, others []bool)
}

// Entry is one policy in a Contest. They are in the order of their levels and, in a level, of
// their age.
type Entry struct {
	Policy string // its key
	Level  Level
	Spec   *v1alpha1.MeshPolicySpec
}

// Room is the section as one of all.
func (s Section[S]) Room() Room {
	return Room{
		Name: s.Name, On: s.On, Shadow: s.Shadow,
		Has:     func(spec *v1alpha1.MeshPolicySpec) bool { return s.Of(spec) != nil },
		Contest: s.contest,
	}
}

func (s Section[S]) contest(entries []Entry) (holds int, others []bool) {
	written := make([]Written[S], len(entries))
	for i, e := range entries {
		written[i] = Written[S]{e.Policy, e.Level, s.Of(e.Spec)}
	}
	holds = s.Holds(written)
	for _, w := range written {
		others = append(others, !reflect.DeepEqual(w.Says, written[holds].Says))
	}
	return holds, others
}
