package envoy

import (
	"time"

	overloadv3 "github.com/envoyproxy/go-control-plane/envoy/config/overload/v3"
	connectionsv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/downstream_connections/v3"
	heapv3 "github.com/envoyproxy/go-control-plane/envoy/extensions/resource_monitors/fixed_heap/v3"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weft-mesh/weft/internal/wire"
)

const (
	heapMonitor       = "envoy.resource_monitors.fixed_heap"
	connectionMonitor = "envoy.resource_monitors.global_downstream_max_connections"

	connectionCost     = 64 << 10 // bytes of the memory limit set aside for each connection
	defaultConnections = 16 << 10
)

// overload bounds the connections of all clients together and, where the container has a memory
// limit, sheds load before the kernel ends the whole proxy: at 90 % of the heap it gives memory back
// and lets no connection linger, at 95 % it refuses requests, at 98 % connections.
func overload(memory uint64) *overloadv3.OverloadManager {
	manager := &overloadv3.OverloadManager{
		RefreshInterval: durationpb.New(250 * time.Millisecond),
		ResourceMonitors: []*overloadv3.ResourceMonitor{monitor(connectionMonitor, &connectionsv3.DownstreamConnectionsConfig{
			MaxActiveDownstreamConnections: connections(memory),
		})},
	}
	if memory == 0 {
		return manager
	}
	manager.ResourceMonitors = append(manager.ResourceMonitors, monitor(heapMonitor, &heapv3.FixedHeapConfig{
		MaxHeapSizeBytes: memory / 100 * 85, // the rest is code, stacks and what the allocator wastes
	}))
	manager.Actions = []*overloadv3.OverloadAction{
		atHeap("envoy.overload_actions.shrink_heap", 0.90),
		atHeap("envoy.overload_actions.disable_http_keepalive", 0.90),
		atHeap("envoy.overload_actions.stop_accepting_requests", 0.95),
		atHeap("envoy.overload_actions.stop_accepting_connections", 0.98),
	}
	return manager
}

func connections(memory uint64) int64 {
	if memory == 0 {
		return defaultConnections
	}
	return int64(max(memory/connectionCost, 100))
}

func monitor(name string, config proto.Message) *overloadv3.ResourceMonitor {
	return &overloadv3.ResourceMonitor{
		Name:       name,
		ConfigType: &overloadv3.ResourceMonitor_TypedConfig{TypedConfig: wire.Any(config)},
	}
}

func atHeap(action string, share float64) *overloadv3.OverloadAction {
	return &overloadv3.OverloadAction{Name: action, Triggers: []*overloadv3.Trigger{{
		Name:         heapMonitor,
		TriggerOneof: &overloadv3.Trigger_Threshold{Threshold: &overloadv3.ThresholdTrigger{Value: share}},
	}}}
}
