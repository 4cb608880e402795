package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/load"
)

// shop answers as the shop does.
func shop(w http.ResponseWriter, r *http.Request) {
	w.Header().Set(load.IDHeader, r.Header.Get(load.IDHeader))
	if r.Method == http.MethodPost {
		w.WriteHeader(http.StatusCreated)
	}
}

func TestALoadIsHeldAndCountedByStep(t *testing.T) {
	served := httptest.NewServer(http.HandlerFunc(shop))
	defer served.Close()
	caller := httptest.NewServer(new(loads).handler())
	defer caller.Close()
	asked, err := json.Marshal(order{Target: load.Target{Address: served.Listener.Addr().String(), Host: "shop.test"}, Rate: 500})
	if err != nil {
		t.Fatal(err)
	}
	send(t, caller, http.MethodPost, "/start", string(asked))
	send(t, caller, http.MethodPost, "/step?name=a%20change", "")
	deadline := time.Now().Add(20 * time.Second)
	for n := 0; n < 100 && time.Now().Before(deadline); {
		if err := json.Unmarshal(send(t, caller, http.MethodGet, "/sent", ""), &n); err != nil {
			t.Fatal(err)
		}
	}
	var results []load.Result
	told := send(t, caller, http.MethodPost, "/stop", "")
	if err := json.Unmarshal(told, &results); err != nil {
		t.Fatal(err)
	}
	for _, r := range load.Failures(results, nil) {
		t.Errorf("%s %s failed: %s", r.Method, r.ID, r.Failed)
	}
	steps := map[string]int{}
	for _, r := range results {
		steps[r.Step]++
	}
	if steps["a change"] == 0 || len(results) < 100 {
		t.Errorf("%d results, by step: %v", len(results), steps)
	}
	if again := send(t, caller, http.MethodPost, "/stop", ""); !bytes.Equal(again, told) {
		t.Errorf("a second stop prints %s", again)
	}
	send(t, caller, http.MethodPost, "/start", string(asked))
	if fresh := send(t, caller, http.MethodPost, "/stop", ""); bytes.Contains(fresh, []byte(results[0].ID)) {
		t.Errorf("what was told of the load before is told of the next: %s", fresh)
	}
}

func TestALoadWithoutATargetIsRefused(t *testing.T) {
	recorded := httptest.NewRecorder()
	new(loads).handler().ServeHTTP(recorded, httptest.NewRequest(http.MethodPost, "/start", strings.NewReader(`{"rate": 10}`)))
	if recorded.Code != http.StatusBadRequest {
		t.Errorf("status %d", recorded.Code)
	}
}

func TestACallThatFailsIsAnOutcome(t *testing.T) {
	var out bytes.Buffer
	request := `{"protocol": "tcp", "address": "127.0.0.1:1"}`
	if _, err := one(strings.NewReader(request), &out); err != nil {
		t.Fatal(err)
	}
	var got call.Outcome
	if err := json.Unmarshal(out.Bytes(), &got); err != nil || got.Failed == "" {
		t.Errorf("the outcome is %s (%v)", out.String(), err)
	}
	if err := once(request); err == nil {
		t.Error("a call without an answer ends well")
	}
}

func send(t *testing.T, to *httptest.Server, method, path, body string) []byte {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, to.URL+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s %s: %s, %v", method, path, response.Status, err)
	}
	return answer
}
