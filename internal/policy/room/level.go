package room

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
