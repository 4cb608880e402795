#!/usr/bin/env bash
# Runs every test: what needs no cluster, then the stories and the Gateway API conformance suite on a
# real one. Goes on after a failure, so that one run shows all of them.
#
#   hack/test.sh            the short form, which `make test` runs
#   hack/test.sh long       full length; a part, or a story, that passed in an earlier run of the same commit
#                           is not run again; writes docs/reports/<date>.md
#   hack/test.sh report     writes that report of what the long run of this commit has come to so far
#   hack/test.sh unit|e2e   one half of the short form
set -uo pipefail
cd "$(dirname "$0")/.."

what=${1:-all}
state=bin/test
commit=$(git rev-parse --short HEAD)
case $what in
long) state=bin/test-long-$commit && export WEFT_LONG=1 && longer='^TestAuthorizationDiffers$' ;;
report) state=bin/test-long-$commit ;;
*) rm -f "$state"/* ;;
esac
mkdir -p "$state"
go build -o bin/tally-tool ./hack/tally || exit 1
failures=0

say() { printf '\n%s  %s\n' "$(date -u +%H:%M:%S)" "$*"; }

# part NAME LIMIT ARGUMENTS… runs `go test` and counts; in another module with module=FOLDER before it.
part() {
	local name=$1 limit=$2
	shift 2
	if [ -e "$state/$name.passed" ]; then
		say "$name passed before"
		return
	fi
	say "$name: go test $*"
	rm -f "$state/$name.count"
	nice go test ${module:+-C "$module"} -json -count=1 -timeout "$limit" "$@" 2>&1 | tee "$state/$name.json" |
		bin/tally-tool -part "$name" -to "$state/$name.count" | tee "$state/$name.log"
	if [ "${PIPESTATUS[2]}" -eq 0 ]; then touch "$state/$name.passed"; else failures=$((failures + 1)); fi
}

# packages installs what unit tests run besides Go: they come before the cluster, which installs its own.
packages() {
	local need missing=()
	for need in ip:iproute2 nft:nftables prometheus:prometheus; do
		command -v "${need%:*}" >/dev/null || missing+=("${need#*:}")
	done
	if [ ${#missing[@]} -gt 0 ] && [ "$(id -u)" -eq 0 ] && command -v apt-get >/dev/null; then
		say "apt-get install ${missing[*]}"
		apt-get update -q && apt-get install -y -q --no-install-recommends "${missing[@]}"
	fi
}

# drawn are tests of many worlds, or of many policies and requests, most of them drawn at random. Nothing of ours runs
# beside them, and they take five times as long with the race detector.
drawn='^(TestOracle|TestDrawnObjects|FuzzObjects|Test.*(Differs?|Compiled|Witness|OfLevels|OfTwoLevels)$|TestServersGoRoundInNoCircle$|TestPolicyTouchesItsOwn$|TestIndexed$)'

unit() {
	packages
	# shellcheck disable=SC2046
	part unit "$([ "$what" = long ] && echo 2h || echo 30m)" -race -skip "$drawn" $(go list ./... | grep -v -e /e2e/stories -e /e2e/conformance -e /e2e/late)
	part oracle 40m -run "$drawn" ${longer:+-skip "$longer"} ./internal/core ./internal/incr ./internal/xds ./internal/opa ./internal/envoy
	module=e2e/cluster part cluster 5m ./internal/...
}

# differential holds what policies are compiled to against what OPA answers, for half a million requests; the short form
# asks 20,000.
differential() {
	WEFT_REQUESTS=500000 part differential 3h -run "$longer" ./internal/envoy
}

# stories NAME LIMIT FILES… is the part of the stories in some files. Where a long run is resumed, those that
# passed before are left out, and what was said of them stays beside.
stories() {
	local name=$1 limit=$2 left
	shift 2
	if [ -e "$state/$name.log" ] && [ ! -e "$state/$name.passed" ]; then
		for kept in log count; do mv -f "$state/$name.$kept" "$state/$name-$(date -u +%H%M%S).$kept" 2>/dev/null; done
	fi
	touch "$state/$name.done"
	left=$(sed -n 's/^func \(Test[A-Za-z0-9]*\)(t .*/\1/p' "$@" | grep -vxF -f "$state/$name.done" | paste -sd'|')
	part "$name" "$limit" -parallel 2 -run "^($left)$" ./e2e/stories
	sed -n 's/.*"Action":"pass".*"Test":"\([A-Za-z0-9]*\)".*/\1/p' "$state/$name.json" >>"$state/$name.done"
}

e2e() {
	[ -e "$state/standard-cluster" ] && fresh
	if [ -z "${KUBECONFIG:-}" ]; then
		say "a cluster"
		(cd e2e/cluster && go run . up) || exit 1
		part late 15m ./e2e/late
	else
		say "late is left out, and stories that look into the node: KUBECONFIG names a cluster of somebody's, and late deletes CRDs"
	fi
	part conformance "$([ "$what" = long ] && echo 3h || echo 40m)" ./e2e/conformance
	# shellcheck disable=SC2046
	stories gateway-stories "$([ "$what" = long ] && echo 3h || echo 30m)" $(ls e2e/stories/*_test.go | grep -v /mesh_)
	stories mesh-stories "$([ "$what" = long ] && echo 3h || echo 45m)" e2e/stories/mesh_*_test.go
}

# fresh deletes the cluster: Gateway API refuses a change of its channel in place.
fresh() {
	(cd e2e/cluster && go run . down) && rm -f "$state/standard-cluster"
}

# standard runs the conformance suite once more, on a fresh cluster with the standard channel of Gateway API.
standard() {
	if [ -n "${KUBECONFIG:-}" ]; then
		say "conformance-standard is left out: KUBECONFIG names a cluster of somebody's, which has one channel"
	elif [ -e "$state/conformance-standard.passed" ]; then
		say "conformance-standard passed before"
	else
		fresh && touch "$state/standard-cluster" && (cd e2e/cluster && go run . up) || exit 1
		WEFT_CHANNEL=standard part conformance-standard 3h ./e2e/conformance
		fresh
	fi
}

# fuzz runs every fuzz test for a minute each (FUZZTIME).
fuzz() {
	[ -e "$state/fuzz.passed" ] && say "fuzz passed before" && return
	say fuzz
	hack/fuzz.sh 2>&1 | tee "$state/fuzz.log"
	if [ "${PIPESTATUS[0]}" -eq 0 ]; then touch "$state/fuzz.passed"; else failures=$((failures + 1)); fi
}

report() {
	mkdir -p docs/reports
	{
		printf '# %s, commit %s\n\n' "$(date -u +%Y-%m-%d)" "$commit"
		printf '`make test-long` on %s cores, %s.\n\n' "$(nproc)" "$(go version | cut -d' ' -f3-)"
		for log in "$state"/*.log; do
			printf '## %s\n\n```\n' "$(basename "$log" .log)"
			cat "$log"
			printf '```\n\n'
		done
	} >"docs/reports/$(date -u +%Y-%m-%d).md"
	say "the report is docs/reports/$(date -u +%Y-%m-%d).md"
}

case $what in
unit) unit ;;
e2e) e2e ;;
all)
	unit
	e2e
	;;
long)
	unit
	e2e
	standard
	fuzz
	differential
	report
	;;
report)
	report
	exit
	;;
*)
	echo "usage: hack/test.sh [unit|e2e|long|report]" >&2
	exit 2
	;;
esac

cat "$state"/*.count >"$state/tally"
echo
bin/tally-tool -total -to "$state/tally"
[ "$failures" -eq 0 ]
