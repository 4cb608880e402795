package envoy

// What the tests ask of resources that no exported function gives alone.
var (
	Hardened      = hardened
	Router        = router
	UnsentReplies = unsentReplies
	RetryInbound  = retryInbound
)

const UnsentHeader = unsentHeader
