// Package load holds an even stream of requests against a server and says what became of each one.
//
//	Start → a request is due every 1/rate seconds, whether or not earlier ones are answered
//	     → an idle connection, or a new one → one write, one answer → Result
//
// It is an open loop: a slow server does not slow the stream down. It never sends a request twice:
// what fails is counted as failed. It keeps connections alive, leaves those that the server asked
// to close, and takes no connection that it knows to be closed.
package load

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// IDHeader names the header in which each request carries its own id.
const IDHeader = "Order-Id"

// Target is where the requests go.
type Target struct {
	Address string      // host:port to connect to
	Host    string      // the Host header
	TLS     *tls.Config `json:"-"` // nil: plain HTTP
}

// ByApplication ends what Result.Failed says of an answer that bears the request's id: no proxy gave it.
const ByApplication = " from the application"

// patience is how long a request may wait for its answer before it counts as failed.
const patience = 15 * time.Second

// Result is what became of one request.
type Result struct {
	ID     string
	Method string
	Step   string
	Due    time.Time
	Late   time.Duration // from due until it was begun
	Took   time.Duration // from due to the end of the answer
	Status int           // 0: there was no answer
	Failed string        // empty: answered as it should be
}

// Load is a running stream of requests.
type Load struct {
	target Target
	pool   *pool
	stop   context.CancelFunc
	ended  sync.WaitGroup
	prefix string

	mu      sync.Mutex
	step    string
	results []Result
}

// Start sends rate requests per second to target, every second one a POST of an order, until Stop.
func Start(target Target, rate int) *Load {
	ctx, stop := context.WithCancel(context.Background())
	l := &Load{target: target, pool: newPool(target), stop: stop, prefix: rand.Text()[:8], step: "start"}
	l.ended.Add(1)
	go l.run(ctx, rate)
	return l
}

// Step names what happens to the system from now on; requests due from now on count to it.
func (l *Load) Step(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.step = name
}

// Sent is the number of requests that have ended so far.
func (l *Load) Sent() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.results)
}

// Stop ends the stream, waits for the answers still due and returns all results.
func (l *Load) Stop() []Result {
	l.stop()
	l.ended.Wait()
	l.pool.close()
	return l.results
}

func (l *Load) run(ctx context.Context, rate int) {
	defer l.ended.Done()
	start := time.Now()
	gap := time.Second / time.Duration(rate)
	tick := time.NewTicker(max(gap/2, time.Millisecond))
	defer tick.Stop()
	for n := 0; ; {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			for ; !start.Add(time.Duration(n) * gap).After(now); n++ {
				l.send(n, start.Add(time.Duration(n)*gap))
			}
		}
	}
}

// send sends request number n in a goroutine of its own.
func (l *Load) send(n int, due time.Time) {
	l.mu.Lock()
	result := Result{ID: l.prefix + "-" + strconv.Itoa(n), Method: http.MethodGet, Step: l.step, Due: due}
	l.mu.Unlock()
	if n%2 == 1 {
		result.Method = http.MethodPost
	}
	l.ended.Add(1)
	go func() {
		defer l.ended.Done()
		result.Late = time.Since(due)
		result.Status, result.Failed = l.exchange(result)
		result.Took = time.Since(due)
		l.mu.Lock()
		defer l.mu.Unlock()
		l.results = append(l.results, result)
	}()
}

// exchange sends one request and judges the answer.
func (l *Load) exchange(r Result) (int, string) {
	request, err := l.request(r)
	if err != nil {
		return 0, err.Error()
	}
	conn, err := l.pool.take()
	if err != nil {
		return 0, "connect: " + err.Error()
	}
	status, echoed, err := conn.exchange(request, time.Now().Add(patience))
	if err != nil {
		return 0, fmt.Sprintf("%s (connection used %d times)", err, conn.used)
	}
	l.pool.put(conn)
	want := http.StatusOK
	if r.Method == http.MethodPost {
		want = http.StatusCreated
	}
	switch {
	case status != want && echoed == r.ID:
		return status, fmt.Sprintf("status %d%s", status, ByApplication)
	case status != want:
		return status, fmt.Sprintf("status %d", status)
	case echoed != r.ID:
		return status, fmt.Sprintf("the answer belongs to request %q", echoed)
	}
	return status, ""
}

func (l *Load) request(r Result) (*http.Request, error) {
	path := "/api/goods"
	if r.Method == http.MethodPost {
		path = "/orders"
	}
	request, err := http.NewRequest(r.Method, "http://"+l.target.Host+path, nil)
	if err != nil {
		return nil, fmt.Errorf("make a request to %s: %w", l.target.Host, err)
	}
	request.Header.Set(IDHeader, r.ID)
	return request, nil
}
