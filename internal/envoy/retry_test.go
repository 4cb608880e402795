package envoy_test

import (
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/mesh"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// flaky answers a code to each request of one id, until it was asked so many times.
func flaky() http.HandlerFunc {
	var mu sync.Mutex
	asked := map[string]int{}
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		id := r.URL.Query().Get("id")
		code, err := strconv.Atoi(r.URL.Query().Get("code"))
		fails, err2 := strconv.Atoi(r.URL.Query().Get("fails"))
		if asked[id]++; err != nil || err2 != nil {
			code = http.StatusBadRequest
		} else if asked[id] > fails {
			code = http.StatusOK
		}
		w.Header().Set("Asked", strconv.Itoa(asked[id]))
		w.WriteHeader(code)
	}
}

// TestRetryCodes: the conformance suite's HTTPRouteRetry. A rule's retry repeats for the codes that it names
// and as many times as it says, and the last answer is what the client gets.
func TestRetryCodes(t *testing.T) {
	t.Parallel()
	proxy := world{endpoints: map[string][]mesh.Endpoint{"flaky": serve(t, flaky())}, hosts: host(t, `
- matches: [{path: {value: /500-attempts-3}}]
  retry: {codes: [500], attempts: 3}
  backendRefs: [{name: flaky}]
- matches: [{path: {value: /all-attempts-2}}]
  retry: {codes: [500, 502, 503, 504], attempts: 2}
  backendRefs: [{name: flaky}]
`)}.start(t)
	type test struct {
		path                       string
		code, fails, status, asked int
	}
	tests := []test{{"/500-attempts-3", 500, 2, 200, 3}, {"/500-attempts-3", 500, 4, 500, 4}, {"/500-attempts-3", 503, 2, 503, 1}}
	for _, code := range []int{500, 502, 503, 504} {
		tests = append(tests, test{"/all-attempts-2", code, 1, 200, 2}, test{"/all-attempts-2", code, 3, code, 3})
	}
	for i, tt := range tests {
		response, _ := proxy.send(t, "GET", fmt.Sprintf("%s?id=%d&code=%d&fails=%d", tt.path, i, tt.code, tt.fails))
		if response.StatusCode != tt.status || response.Header.Get("Asked") != strconv.Itoa(tt.asked) {
			t.Errorf("%+v: %d after %s requests", tt, response.StatusCode, response.Header.Get("Asked"))
		}
	}
}

// budgets are worlds whose budgets have room for so many retries of 20 requests.
var budgets = map[int]world{
	1:  {retries: &mesh.RetryBudget{Least: 1}},
	3:  {retries: &mesh.RetryBudget{Least: 3}},
	10: {retries: &mesh.RetryBudget{Percent: 50, Least: 10}},
	2: { // a policy's holds before what the Service has
		retries:  &mesh.RetryBudget{Percent: 100, Least: 9},
		policies: []room.Decided{{Section: "retry", Says: &v1alpha1.Retry{Budget: &v1alpha1.RetryBudget{Percent: new(int32(5)), MinRetries: new(int32(2))}}}},
	},
}

// TestRetryBudget: of many requests that fail at once no more are retried than the budget has, and the others
// get the answer that they got.
func TestRetryBudget(t *testing.T) {
	t.Parallel()
	const requests = 20
	for least, w := range budgets {
		var asked atomic.Int32
		all, answered := make(chan struct{}), make(chan struct{})
		w.endpoints = map[string][]mesh.Endpoint{"failing": serve(t, func(w http.ResponseWriter, r *http.Request) {
			n := asked.Add(1)
			if n == requests {
				close(all)
			}
			if <-all; n > requests { // a retry holds its place until the others have their answers
				<-answered
				return
			}
			w.WriteHeader(http.StatusServiceUnavailable)
		})}
		w.hosts = host(t, `
- retry: {codes: [503], attempts: 1}
  backendRefs: [{name: failing}]
`)
		g := w.start(t)
		results := make(chan int, requests)
		for range requests {
			go func() { results <- status(g.url) }()
		}
		for range requests - least {
			if got := <-results; got != http.StatusServiceUnavailable {
				t.Errorf("at most %d of %d: an answer is %d", least, requests, got)
			}
		}
		close(answered)
		for range least {
			if got := <-results; got != http.StatusOK {
				t.Errorf("at most %d of %d: a retry is answered %d", least, requests, got)
			}
		}
		if got := asked.Load(); got != requests+int32(least) {
			t.Errorf("at most %d of %d: the backend was asked %d times", least, requests, got)
		}
	}
}
