package conformance

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/gateway-api/conformance/utils/suite"
)

// results are what each single test came to; the suite's report only counts them.
type results struct {
	mu    sync.Mutex
	began time.Time
	lines []string
	count map[string]int
	came  map[string]string // by test
}

// add is the suite's hook after each test.
func (r *results) add(t *testing.T, test suite.ConformanceTest, in *suite.ConformanceTestSuite) {
	r.mu.Lock()
	defer r.mu.Unlock()
	word := outcome(t, test, in)
	if r.count == nil {
		r.count, r.came = map[string]int{}, map[string]string{}
	}
	r.count[word]++
	r.came[test.ShortName] = word
	r.lines = append(r.lines, fmt.Sprintf("%-62s %-13s %s", test.ShortName, word, names(test)))
	if word != notClaimed {
		fmt.Fprintf(os.Stderr, "%s  conformance: %s %s\n", time.Now().UTC().Format("15:04:05"), test.ShortName, word)
	}
}

const notClaimed = "not claimed"

// want fails the test unless those of that name passed.
func (r *results) want(t *testing.T, names ...string) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, name := range names {
		if r.came[name] != "passed" {
			t.Errorf("test %s did not pass: %q", name, r.came[name])
		}
	}
}

func outcome(t *testing.T, test suite.ConformanceTest, in *suite.ConformanceTestSuite) string {
	switch {
	case t.Failed():
		return "FAILED"
	case !in.SupportedFeatures.HasAll(test.Features...):
		return notClaimed
	case t.Skipped():
		return "skipped"
	}
	return "passed"
}

func names(test suite.ConformanceTest) string {
	var all []string
	for _, feature := range test.Features {
		all = append(all, string(feature))
	}
	return strings.Join(all, " ")
}

// write writes one line for each test, in order of name, and a line of sums.
func (r *results) write(t *testing.T, path string) {
	t.Helper()
	slices.Sort(r.lines)
	sums := fmt.Sprintf("%d passed, %d failed, %d skipped, %d not claimed", r.count["passed"], r.count["FAILED"], r.count["skipped"], r.count[notClaimed])
	t.Logf("conformance: %s in %s", sums, time.Since(r.began).Round(time.Second))
	text := strings.Join(r.lines, "\n") + "\n\n" + sums + "\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Error(err)
	}
}
