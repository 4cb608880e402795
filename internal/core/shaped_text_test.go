package core

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/mesh"
)

// shapedFields are those of a cluster that only policies about traffic set.
var shapedFields = []string{"outlierDetection", "healthChecks", "loadBalancingPolicy", "roundRobinLbConfig", "leastRequestLbConfig", "ringHashLbConfig", "maglevLbConfig", "maxRequestsPerConnection"}

// shapedText adds to the text of a Service's cluster what policies about traffic made of it.
func shapedText(tree, out map[string]any) {
	if name, _ := tree["name"].(string); strings.HasPrefix(name, mesh.GatewayPrefix) {
		return
	}
	for _, field := range shapedFields {
		if says, is := tree[field]; is {
			out[field] = says
		}
	}
	if connect := tree["connectTimeout"]; tree["type"] == "EDS" && connect != "5s" {
		out["connectTimeout"] = connect
	}
	if out["sessions"] == nil {
		if common, is := tree["commonLbConfig"]; is {
			out["commonLbConfig"] = common
		}
		if balance := tree["lbPolicy"]; tree["type"] == "EDS" && balance != "LEAST_REQUEST" {
			out["lbPolicy"] = balance
		}
	}
	breakers, _ := tree["circuitBreakers"].(map[string]any)
	thresholds, _ := breakers["thresholds"].([]any)
	for _, t := range thresholds {
		bounds := map[string]any{}
		for name, bound := range t.(map[string]any) {
			if name != "retryBudget" && bound != float64(100_000) {
				bounds[name] = bound
			}
		}
		if len(bounds) > 0 {
			out["bounds"] = bounds
		}
	}
}

var moduleFilter = regexp.MustCompile(`name:(policy/extensions/[^ \]]+)`)

// withModules adds to the text of a listener the filters of policies' own.
func withModules(tree, out map[string]any) map[string]any {
	var names []string
	for _, found := range moduleFilter.FindAllStringSubmatch(fmt.Sprint(tree), -1) {
		names = append(names, found[1])
	}
	if slices.Sort(names); len(names) > 0 {
		out["modules"] = slices.Compact(names)
	}
	return out
}

// modulesText are the filters of a policy's own, those of modules by what they are called and configured with.
func modulesText(config map[string]any) (out []string) {
	chains, _ := config["namedFilterChains"].(map[string]any)
	all, _ := chains["all"].(map[string]any)
	filters, _ := all["typedConfig"].([]any)
	for _, f := range filters {
		filter := f.(map[string]any)
		text := fmt.Sprint(filter["name"])
		if plugin, is := filter["typedConfig"].(map[string]any)["config"].(map[string]any); is {
			with, _ := plugin["configuration"].(map[string]any)
			text += fmt.Sprintf(" %v, %v: %v", plugin["name"], plugin["failurePolicy"], with["value"])
		}
		out = append(out, text)
	}
	return out
}
