package envoy

// What the tests ask of resources that no exported function gives alone.
var (
	Hardened      = hardened
	Router        = router
	UnsentReplies = unsentReplies
	RetryInbound  = retryInbound
	HTTPSignals   = httpSignals
	TCPSignals    = tcpSignals
	TCPLogOptions = tcpLogOptions
	HTTPLogs      = httpLogs
	TCPLogs       = tcpLogs
	StatsConfig   = statsConfig
)

const (
	UnsentHeader = unsentHeader
	Source       = source
	Destination  = destination
)

type Called = called
