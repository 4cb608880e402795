package opatest

import (
	"fmt"
	"math/rand"
	"regexp"
	"slices"
	"strings"
)

// exact are expressions that Envoy decides.
var exact = []string{
	`input.request.method == "GET"`, `"POST" != input.request.method`, `input.request.method in {"GET", "PUT"}`, `is_get(input.request.method)`,
	`startswith(input.request.path, "/open")`, `endswith(input.request.path, "/ann")`, `contains(input.request.path, "min")`,
	`input.request.path == "/open"`, `input.request.path != "/admin"`, `regex.match("^/users/[^/]+$", input.request.path)`, `regex.match("adm|^/open$", input.request.path)`,
	`regex.match("(?i)^/ADMIN", input.request.path)`, `path := input.request.path; startswith(path, "/users")`,
	`input.request.segments[0] == "users"`, `input.request.segments[1] in names`, `some n in names; input.request.segments[1] == n`, `input.request.segments[2] != "x"`,
	`input.request.host == "cart"`, `contains(input.request.host, "art")`, `contains(input.request.host, "80")`, `endswith(input.request.host, "0")`, `regex.match("^c.*[^x]$", input.request.host)`, `regex.match("m$|80", input.request.host)`,
	`contains(input.request.segments[0], "e")`, `regex.match("^u.*n$", input.request.segments[0])`, `regex.match("[^u]n", input.request.segments[0])`, `regex.match("^us|n$", input.request.segments[0])`, `regex.match("^a", input.request.segments[1])`, `regex.match("s/a|^op", input.request.segments[0])`, `regex.match(":8|^c", input.request.host)`, `regex.match("^s.*p$", input.source.namespace)`, `contains(input.source.service_account, "a")`, `endswith(input.request.host, ".example.com")`,
	`input.request.headers["x-a"] == "admin"`, `input.request.headers["x-a"] != "user"`, `name := "X-A"; input.request.headers[name] == "admin"`, `input.request.headers["x-b"] in {"user", "ten-1"}`, `regex.match("^ad", input.request.headers["x-b"])`,
	`input.source.namespace == "shop"`, `input.source.service_account != "web"`, `input.source.principal in {"spiffe://mesh.test/ns/shop/sa/web"}`, `endswith(input.source.principal, "/sa/batch")`,
	`net.cidr_contains("127.0.0.0/8", input.source.ip)`,
	`input.jwt.claims.team == "user"`, `input.jwt.claims.team != "admin"`, `input.jwt.claims.sub in names`, `input.request.segments[1] == input.jwt.claims.sub`,
	`input.request.headers["x-a"] == input.jwt.claims.team`, `is_array(input.jwt.claims.groups); "admin" in input.jwt.claims.groups`, `is_string(input.jwt.claims.team)`,
	`is_number(input.jwt.claims.level); input.jwt.claims.level >= 3`, `is_number(input.jwt.claims.level); input.jwt.claims.level < 7`, `contains(input.jwt.claims.team, "min")`,
	`input.time.hour >= 0`, `input.time.weekday < 7`, `input.destination.labels.team == "payments"`, `input.destination.namespace != "office"`,
	`h0`, `h1`, `not h0`, `not h1`, `not h2`, `true`,
}

// inexact are some that it does not.
var inexact = []string{
	`lower(input.request.path) == "/admin"`, `input.jwt.claims.level > 3`, `"admin" in input.jwt.claims.groups`, `input.jwt.claims.admin == true`, `input.jwt.claims.team`,
	`some g in input.jwt.claims.groups; g == "admin"`, `count(input.request.segments) > 1`, `some i; input.request.segments[i] == "admin"`, `split(input.request.path, "/")[1] == "open"`,
	`input.jwt.claims.level == 3`, `regex.match("^.$", input.jwt.claims.team)`, `to_number(input.request.segments[1]) > 5`, `h3 == "x"`, `not h4`, `{s | some s in input.request.segments} == {"open"}`, `input.jwt.claims != null`, `count(input.request.headers) > 1`, `input.source.ip == "127.0.0.2"`, `7 > input.time.hour`, `regex.match("[A-Z]", input.request.host)`, `regex.match("(a|^u)s?e", input.request.segments[0])`, `regex.match("(e|:8)", input.request.host)`,
}

// Module draws one that people could have written; of expressions that Envoy decides alone, if it is to be plain.
func Module(r *rand.Rand, plain bool) string {
	all := exact
	if !plain {
		all = append(append([]string{}, exact...), inexact...)
	}
	body := func() string {
		parts := some(r, 3, func() string { return one(r, all...) })
		slices.Sort(parts)
		return "{ " + strings.Join(slices.Compact(parts), "; ") + " }"
	}
	// A helper asks for none, and not for addresses: those, beside what only CEL compares, are nothing that Envoy decides.
	helper := func() string {
		for {
			if b := body(); !strings.Contains(b, "cidr") && !regexp.MustCompile(`\bh[0-4]\b`).MatchString(b) {
				return b
			}
		}
	}
	var out strings.Builder
	out.WriteString("package weft.v1\n\nnames := {\"ann\", \"bob\"}\n\nis_get(m) if m == \"GET\"\n")
	for _, name := range []string{"allow", "deny", "h1"} {
		if maybe(r) {
			fmt.Fprintf(&out, "default %s := false\n", name)
		}
	}
	for i := range 3 {
		for range 1 + r.Intn(2) {
			fmt.Fprintf(&out, "h%d if %s\n", i, helper())
		}
	}
	if !plain {
		out.WriteString("h3 := \"x\" if { input.request.method == \"GET\" }\nh4 contains s if { some s in input.request.segments }\n")
	}
	for range 1 + r.Intn(3) {
		fmt.Fprintf(&out, "allow if %s\n", body())
	}
	for range r.Intn(3) {
		fmt.Fprintf(&out, "deny if %s\n", body())
	}
	return out.String()
}
