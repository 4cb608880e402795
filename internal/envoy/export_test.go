package envoy

import hcmv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/filters/network/http_connection_manager/v3"

// What the tests ask of resources that no exported function gives alone.
var (
	Hardened      = hardened
	Router        = router
	UnsentReplies = func() *hcmv3.LocalReplyConfig { return ownReplies(unsentReplies()...) }
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
