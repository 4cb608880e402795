package opatest

import (
	"fmt"
	"math/rand"
	"strings"
)

// Input draws what OPA may be asked: some of it is missing, and claims are of any type.
func Input(r *rand.Rand) map[string]any {
	word := func() string { return Values[r.Intn(len(Values))] }
	maybe := func(in map[string]any, name string, v any) {
		if r.Intn(4) > 0 {
			in[name] = v
		}
	}
	segments, path := []any{}, ""
	for range 1 + r.Intn(3) {
		s := Segments[r.Intn(len(Segments))]
		segments, path = append(segments, s), path+"/"+s
	}
	headers, source, claims := map[string]any{}, map[string]any{"ip": fmt.Sprintf("127.0.0.%d", 1+r.Intn(9))}, map[string]any{}
	for _, name := range Headers {
		maybe(headers, name, word())
	}
	if r.Intn(4) > 0 {
		id := Callers[r.Intn(len(Callers))]
		parts := strings.Split(id, "/")
		source["principal"], source["trust_domain"], source["namespace"], source["service_account"] = id, parts[2], parts[4], parts[6]
	}
	if r.Intn(4) > 0 {
		claims["claims"] = Claims(r)
	}
	return map[string]any{
		"source": source, "jwt": claims, "time": map[string]any{"hour": float64(r.Intn(24)), "weekday": float64(r.Intn(7))},
		"request": map[string]any{"method": []string{"GET", "POST", "PUT"}[r.Intn(3)], "path": path, "segments": segments, "host": []string{"cart", "a.example.com"}[r.Intn(2)], "headers": headers},
	}
}
