package v1alpha1

// Authorization says who may call what. It holds at the sidecars of the pods that are called, whoever calls
// and by which way, and at Gateways.
//
// As soon as one policy of a level (mesh, namespace, ServiceAccount, pods, Service, port) has the section,
// what it is about takes only what the policies of that level allow: one without rules and roles lets nobody in. A rule that denies counts before
// all that allow, of whatever policy. Each level that has such a policy must allow: none can open what another
// keeps shut.
//
// A rule is about requests: on a port that carries no HTTP, only what is known of a connection can be asked for.
// There a rule that names anything else allows nothing, and one that denies denies all that the rest of it is
// about.
type Authorization struct {
	// rules in their order, which matters to readers only: whatever denies counts before what allows.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=64
	Rules []AuthorizationRule `json:"rules,omitempty"`

	// roles are sets of requests, and who may make them: the same as a rule that allows, with the what before
	// the who.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=32
	Roles []AuthorizationRole `json:"roles,omitempty"`

	// rego is a module that says more, in the language of Open Policy Agent: its allow is one more rule that allows, and
	// its deny one that denies.
	//
	// +optional
	Rego *AuthorizationRego `json:"rego,omitempty"`
}

// AuthorizationRule allows or denies the requests that it is about: those of one of from, to one of to, of which
// all of when holds.
type AuthorizationRule struct {
	// name by which logs and the status call it.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name"`

	// action is Allow or Deny. Rules that deny compare paths and values of headers without regard to case, as
	// some apps do.
	//
	// +optional
	// +kubebuilder:default=Allow
	Action AuthorizationAction `json:"action,omitempty"`

	// from are the callers, any of them. All when unset, those too of whom nothing is known.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	From []AuthorizationSource `json:"from,omitempty"`

	// to are the requests, any of them. All when unset.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	To []AuthorizationOperation `json:"to,omitempty"`

	// when are conditions that all must hold.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	When []AuthorizationCondition `json:"when,omitempty"`
}

// AuthorizationAction is what becomes of the requests that a rule is about.
//
// +kubebuilder:validation:Enum=Allow;Deny
type AuthorizationAction string

// The actions.
const (
	AuthorizationAllow AuthorizationAction = "Allow"
	AuthorizationDeny  AuthorizationAction = "Deny"
)

// AuthorizationRole is what its holders may do.
type AuthorizationRole struct {
	// name by which logs and the status call it.
	//
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Name string `json:"name"`

	// may are the requests, any of them.
	//
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	May []AuthorizationOperation `json:"may"`

	// heldBy are those who may make them, any of them.
	//
	// +required
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	HeldBy []AuthorizationSource `json:"heldBy"`
}

// AuthorizationSource is who calls: all that is set must hold. serviceAccount, gateway, namespace and trustDomain
// are proved by the caller's certificate: nobody has them in plaintext, by serverTLS, and at a Gateway.
//
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:XValidation:rule="(has(self.serviceAccount) ? 1 : 0) + (has(self.gateway) ? 1 : 0) + (has(self.namespace) ? 1 : 0) <= 1",message="serviceAccount, gateway and namespace each say which pods call: set one"
type AuthorizationSource struct {
	// serviceAccount that the calling pods run as.
	//
	// +optional
	ServiceAccount *ObjectName `json:"serviceAccount,omitempty"`

	// gateway by which the request comes.
	//
	// +optional
	Gateway *ObjectName `json:"gateway,omitempty"`

	// namespace of the calling pods.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Namespace string `json:"namespace,omitempty"`

	// trustDomain of the caller's certificate. Of serviceAccount and gateway it is the mesh's own when unset,
	// of namespace any whose callers are let in.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9._]*[a-z0-9])?$`
	TrustDomain string `json:"trustDomain,omitempty"`

	// ipBlocks are the addresses of which one is that of the connection: the calling pod's or, of what comes by
	// a Gateway, one of its proxies', not the client's. Such as 10.1.0.0/16.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=43
	// +kubebuilder:validation:XValidation:rule="self.all(b, isCIDR(b) && cidr(b) == cidr(b).masked())",message="each is a block of addresses in its shortest form, such as 10.1.0.0/16 or fd00:1::/64"
	IPBlocks []string `json:"ipBlocks,omitempty"`

	// jwt is the token of the request, which the section jwt of a policy has verified.
	//
	// +optional
	JWT *AuthorizationJWT `json:"jwt,omitempty"`
}

// ObjectName is an object by its name and its namespace.
type ObjectName struct {
	// namespace of the object.
	//
	// +required
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	Namespace string `json:"namespace"`

	// name of the object.
	//
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$`
	Name string `json:"name"`
}

// AuthorizationJWT is a verified token: all that is set must hold. A request without one has none of it.
//
// +kubebuilder:validation:MinProperties=1
type AuthorizationJWT struct {
	// issuers, of which one is the claim iss.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	Issuers []string `json:"issuers,omitempty"`

	// subjects, of which one is the claim sub.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	Subjects []string `json:"subjects,omitempty"`

	// groups, of which the claim groups has one.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	Groups []string `json:"groups,omitempty"`
}

// AuthorizationOperation is a request: of each list that is set, one must hold.
//
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:XValidation:rule="!has(self.grpc) || !has(self.methods) && !has(self.paths)",message="grpc says itself which method and paths: leave those out",fieldPath=".grpc"
type AuthorizationOperation struct {
	// methods, such as GET.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=32
	// +kubebuilder:validation:items:Pattern=`^[A-Z][-A-Z_]*$`
	Methods []string `json:"methods,omitempty"`

	// paths, without the query, as they are after needless encodings, //, /./ and /../ are resolved.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	Paths []AuthorizationPath `json:"paths,omitempty"`

	// hosts that the request names, without the port and whatever their case: shop.example.com, or
	// *.example.com for all names under that one.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=253
	// +kubebuilder:validation:items:Pattern=`^(\*\.)?[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	Hosts []string `json:"hosts,omitempty"`

	// ports of the pods, not of a Service.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:Minimum=1
	// +kubebuilder:validation:items:Maximum=65535
	Ports []int32 `json:"ports,omitempty"`

	// grpc are services of gRPC, and methods of them.
	//
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	GRPC []AuthorizationGRPC `json:"grpc,omitempty"`

	// headers that all must hold.
	//
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=8
	Headers []AuthorizationHeader `json:"headers,omitempty"`
}

// AuthorizationPath is one path, or many that are alike.
//
// +kubebuilder:validation:MinProperties=1
// +kubebuilder:validation:MaxProperties=1
type AuthorizationPath struct {
	// exact is the whole path.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^/[!-:<-~]*$`
	Exact string `json:"exact,omitempty"`

	// prefix is the path and all under it: /a is /a and /a/b, and not /ab.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^/[!-:<-~]*$`
	Prefix string `json:"prefix,omitempty"`

	// template is a path of which {name} is one segment, whatever it is: /users/{user}/orders. At its end
	// {name...} is whatever follows, and be it nothing.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^(/([!-.0-:<-z|~]+|\{[a-z]+\}))*/?(/\{[a-z]+\.\.\.\})?$`
	Template string `json:"template,omitempty"`
}

// AuthorizationGRPC is a service of gRPC, or one method of it.
type AuthorizationGRPC struct {
	// service with its package, such as shop.v1.Orders.
	//
	// +required
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_]*(\.[A-Za-z_][A-Za-z0-9_]*)*$`
	Service string `json:"service"`

	// method of the service. All when unset.
	//
	// +optional
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_]*$`
	Method string `json:"method,omitempty"`
}

// AuthorizationHeader is a header that a request has. A request that has a header of which any rule about its
// port speaks several times, or with a comma or what is not printable ASCII in it, is refused: who reads it
// after Weft may see another value.
type AuthorizationHeader struct {
	// name of the header.
	//
	// +required
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:XValidation:rule="!(self in ['host', 'content-length', 'transfer-encoding', 'connection', 'te', 'upgrade'])",message="for the host write hosts; headers about the connection are not the caller's"
	Name string `json:"name"`

	// values, of which one is the header's. Any when unset.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	// +kubebuilder:validation:items:Pattern=`^[ -+\--~]+$`
	Values []string `json:"values,omitempty"`
}

// AuthorizationCondition relates an attribute to values, to another attribute, or to data.
//
// +kubebuilder:validation:XValidation:rule="self.operator in ['Exists', 'DoesNotExist'] ? !has(self.values) && !has(self.attributes) && !has(self.data) : (has(self.values) ? 1 : 0) + (has(self.attributes) ? 1 : 0) + (has(self.data) ? 1 : 0) == 1",message="In, NotIn, StartsWith, EndsWith, AtLeast and LessThan compare with either values, attributes or data; Exists and DoesNotExist with none"
// +kubebuilder:validation:XValidation:rule="!has(self.attributes) || self.operator in ['In', 'NotIn']",message="attributes are compared by In and NotIn",fieldPath=".attributes"
// +kubebuilder:validation:XValidation:rule="!(self.operator in ['AtLeast', 'LessThan']) || has(self.values) && size(self.values) == 1 && self.values[0].matches('^-?[0-9]{1,15}$')",message="AtLeast and LessThan compare with one whole number",fieldPath=".values"
// +kubebuilder:validation:XValidation:rule="self.attribute.startsWith('time.') == (self.operator in ['AtLeast', 'LessThan']) || self.attribute.startsWith('jwt.claims[')",message="times and claims are numbers, which AtLeast and LessThan compare; times are compared by nothing else",fieldPath=".operator"
type AuthorizationCondition struct {
	// attribute is one of
	//
	//	source.principal, source.trustDomain, source.namespace, source.serviceAccount
	//	destination.namespace, destination.serviceAccount, destination.labels[app]: of the pods that are called
	//	or, at a Gateway, of its proxies and the labels of the Gateway
	//	request.method, request.path, request.host, request.headers[x-tenant]
	//	request.segments[0], the first part of the path: of /users/ann it is users
	//	jwt.issuer, jwt.subject, jwt.claims[groups], jwt.claims[realm_access][roles]
	//	time.hour (0 to 23) and time.weekday (0, Sunday, to 6), in UTC
	//
	// +required
	// +kubebuilder:validation:MaxLength=384
	// +kubebuilder:validation:Pattern=`^(source\.(principal|trustDomain|namespace|serviceAccount)|destination\.(namespace|serviceAccount|labels\[[-A-Za-z0-9_./]+\])|request\.(method|path|host|headers\[[a-z0-9][-a-z0-9]*\]|segments\[[0-9]\])|jwt\.(issuer|subject|claims(\[[^][]+\])+)|time\.(hour|weekday))$`
	Attribute string `json:"attribute"`

	// operator relates them.
	//
	// In: the attribute is one of the values; of a claim that is a list, one of its entries is.
	// NotIn: In does not hold, because the attribute is missing too.
	// StartsWith, EndsWith: the attribute is text, and starts or ends with one of the values.
	// AtLeast, LessThan: the attribute is a number, and at least, or less than, the value.
	// Exists, DoesNotExist: the attribute is there, or is not. A claim that is null is not there.
	//
	// +required
	Operator AuthorizationOperator `json:"operator"`

	// values to compare with, as text. The claim true is not the text true.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=256
	Values []string `json:"values,omitempty"`

	// attributes to compare with instead, written as attribute is. What is missing of them equals nothing.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=4
	// +kubebuilder:validation:items:MaxLength=384
	// +kubebuilder:validation:items:Pattern=`^(source\.(principal|trustDomain|namespace|serviceAccount)|destination\.(namespace|serviceAccount|labels\[[-A-Za-z0-9_./]+\])|request\.(method|path|host|headers\[[a-z0-9][-a-z0-9]*\]|segments\[[0-9]\])|jwt\.(issuer|subject|claims(\[[^][]+\])+))$`
	Attributes []string `json:"attributes,omitempty"`

	// data are texts of a ConfigMap to compare with instead, by In, NotIn, StartsWith and EndsWith.
	//
	// +optional
	Data *AuthorizationData `json:"data,omitempty"`
}

// AuthorizationOperator relates an attribute to others.
//
// +kubebuilder:validation:Enum=In;NotIn;StartsWith;EndsWith;AtLeast;LessThan;Exists;DoesNotExist
type AuthorizationOperator string

// The operators.
const (
	AttributeIn           AuthorizationOperator = "In"
	AttributeNotIn        AuthorizationOperator = "NotIn"
	AttributeStartsWith   AuthorizationOperator = "StartsWith"
	AttributeEndsWith     AuthorizationOperator = "EndsWith"
	AttributeAtLeast      AuthorizationOperator = "AtLeast"
	AttributeLessThan     AuthorizationOperator = "LessThan"
	AttributeExists       AuthorizationOperator = "Exists"
	AttributeDoesNotExist AuthorizationOperator = "DoesNotExist"
)
