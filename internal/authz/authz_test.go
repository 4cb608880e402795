package authz

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/opa"
)

func recordOf(account, id string) Record {
	return Record{ID: id, Time: time.Unix(0, 0).UTC(), Verdict: Denied, Proxy: Proxy{Namespace: "shop", Pod: account + "-0", ServiceAccount: account}}
}

// TestWindow: who is denied often pushes out its own, the oldest first; what is dropped is counted; neither bound is
// crossed.
func TestWindow(t *testing.T) {
	t.Parallel()
	w := NewWindow(10, 1_000)
	w.Add(recordOf("quiet", "q"), 100)
	for i := range 50 {
		w.Add(recordOf("loud", fmt.Sprint(i)), 100)
	}
	if level := w.Level(); level != (WindowLevel{10, 1_000, 41}) {
		t.Errorf("%+v", level)
	}
	for id, want := range map[string]int{"q": 1, "0": 0, "40": 0, "41": 1, "49": 1} {
		if got := w.Find(id); len(got) != want {
			t.Errorf("%s: %v", id, got)
		}
	}
	if w.Add(recordOf("huge", "h"), 1_001) || len(w.Find("q")) != 1 {
		t.Error("one that is larger than the window took others' room")
	}
	w.Add(recordOf("huge", "h"), 950)
	if level := w.Level(); level.Bytes != 950 || level.Records != 1 || len(w.Find("h")) != 1 {
		t.Errorf("%+v", level)
	}
}

// TestWindowOfRequest: all that proxies on a request's way decided is found, in order.
func TestWindowOfRequest(t *testing.T) {
	t.Parallel()
	w := NewWindow(10, 1_000)
	w.Add(recordOf("web-weft", "a"), 10)
	w.Add(recordOf("cart", "a"), 10)
	if got := w.Find("a"); len(got) != 2 || got[0].Proxy.ServiceAccount != "web-weft" || got[1].Proxy.ServiceAccount != "cart" {
		t.Error(got)
	}
}

func ruleOf(name string) *v1alpha1.Authorization {
	return &v1alpha1.Authorization{Rules: []v1alpha1.AuthorizationRule{{Name: name}}}
}

// TestShelf: what policies said is there by its digest after they say something else, as long as there is room; what
// one says now is there whatever the room.
func TestShelf(t *testing.T) {
	t.Parallel()
	size := len(`{"rules":[{"name":"v00"}]}`)
	s := NewShelf(3 * size)
	digest := func(i int) string { return Digest(ruleOf(fmt.Sprintf("v%02d", i))) }
	for i := range 10 {
		s.Set("shop/p", ruleOf(fmt.Sprintf("v%02d", i)))
	}
	for i := range 10 {
		if got := s.Get(digest(i)) != nil; got != (i >= 6) {
			t.Errorf("version %d: %t", i, got)
		}
	}
	s.Set("shop/same", ruleOf("v09"))
	s.Set("shop/p", nil)
	for i := range 5 {
		s.Set("shop/other", ruleOf(fmt.Sprintf("v%02d", 20+i)))
	}
	if s.Get(digest(9)) == nil {
		t.Error("what a policy says was forgotten, as another said it too and is gone")
	}
	s.Set("shop/same", ruleOf("v23"))
	s.Set("shop/same", ruleOf("v22")) // of the past, and now again
	s.Set("shop/same", ruleOf("v22"))
	for i := range 8 {
		s.Set("shop/other", ruleOf(fmt.Sprintf("v%02d", 30+i)))
	}
	if s.Get(digest(22)) == nil || s.Get(digest(9)) != nil {
		t.Error("what is said again is forgotten, or nothing ever is")
	}
	if all := s.All([]string{digest(22), "unknown"}); len(all) != 1 {
		t.Error(all)
	}
}

// TestDigest: other texts have other digests, and the same has the same.
func TestDigest(t *testing.T) {
	t.Parallel()
	a, b := ruleOf("a"), ruleOf("a")
	if Digest(a) != Digest(b) || Digest(a) == Digest(ruleOf("b")) || len(Digest(a)) != 32 {
		t.Error(Digest(a), Digest(b))
	}
}

// TestLawText: a law that is too long says less, not something else.
func TestLawText(t *testing.T) {
	t.Parallel()
	l := Law{TrustDomain: "mesh.test", Levels: []Level{{Name: "port", Policies: []Policy{{Key: "shop/p", Digest: "d"}}}}}
	var again Law
	if err := json.Unmarshal([]byte(l.Text()), &again); err != nil || fmt.Sprint(again) != fmt.Sprint(l) {
		t.Error(again, err)
	}
	for range 1_000 {
		l.Levels[0].Policies = append(l.Levels[0].Policies, Policy{Key: "shop/p", Digest: "dddddddddddd"})
	}
	if text := l.Text(); len(text) > maxLaw || strings.Contains(text, "levels") {
		t.Error(text)
	}
}

func tried(account, method, caller, id string) Record {
	r := recordOf(account, id)
	r.Verdict, r.Shadow = Allowed, &Shadow{Result: Denied, Policy: "shop/p", Rule: "no rule"}
	r.Input = opa.Input{Source: opa.Source{Principal: caller}, Destination: opa.Receiver{Port: 8080}, Request: &opa.Request{Method: method, Path: "/" + id}}
	return r
}

// TestTally counts by callee, method and caller what policies in Shadow would have denied, and nothing else; without
// room it counts what is left out.
func TestTally(t *testing.T) {
	t.Parallel()
	tally := NewTally(2)
	for i := range 3 {
		tally.Add(tried("cart", "GET", "spiffe://a", fmt.Sprint("get", i)))
	}
	tally.Add(tried("cart", "POST", "spiffe://a", "post"))
	tally.Add(tried("cart", "PUT", "spiffe://a", "put"))
	tally.Add(tried("cart", "PUT", "spiffe://a", "put"))
	tally.Add(recordOf("cart", "denied"))
	let := tried("cart", "GET", "spiffe://a", "let")
	let.Shadow.Result = Allowed
	tally.Add(let)
	got, others := tally.Of("shop/p")
	if len(got) != 2 || others != 2 || got[0].Count != 3 || got[0].Method != "GET" || got[0].ID != "get2" || got[0].Path != "/get2" || got[1].Count != 1 {
		t.Errorf("%+v and %d others", got, others)
	}
	if none, others := tally.Of("shop/q"); len(none) > 0 || others > 0 {
		t.Error(none, others)
	}
}

// chained are some lines.
func chained(t *testing.T, key ed25519.PrivateKey, n int) (lines [][]byte) {
	t.Helper()
	c := Chain{Key: key}
	for i := range n {
		r := recordOf("cart", fmt.Sprint("id ", i))
		entry, err := json.Marshal(Entry{Decision: &r})
		if err != nil {
			t.Fatal(err)
		}
		line, err := c.Next(entry)
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
	return lines
}

func verify(lines [][]byte, key ed25519.PublicKey) (Verified, error) {
	v := Verifier{Key: key}
	err := Each(bytes.NewReader(bytes.Join(lines, []byte("\n"))), func(_ int, line []byte) error { return v.Take(line) })
	return v.Verified, err
}

// TestVerify: a log that is whole is told to be; one of which anything was edited, left out, moved, added or signed by
// another key is not, and the line is named.
func TestVerify(t *testing.T) {
	t.Parallel()
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	other, stranger, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	whole := func() [][]byte { return chained(t, key, 5) }
	if v, err := verify(whole(), public); err != nil || v.First != 1 || v.Last != 5 || !v.Signed {
		t.Error(v, err)
	}
	if v, err := verify(whole()[2:], public); err != nil || v.First != 3 {
		t.Errorf("the rest of a log: %v, %v", v, err)
	}
	edit := func(i int, from, to string) [][]byte {
		lines := whole()
		changed := bytes.Replace(lines[i], []byte(from), []byte(to), 1)
		if bytes.Equal(changed, lines[i]) {
			t.Fatalf("there is no %q in %s", from, lines[i])
		}
		lines[i] = changed
		return lines
	}
	moved, rehashed := whole(), whole()
	moved[1], moved[2] = moved[2], moved[1]
	rehashed[2] = again(t, rehashed[2], nil, "Denied", "Allowed")
	for name, c := range map[string]struct {
		lines [][]byte
		key   ed25519.PublicKey
		line  int
	}{
		"an edited verdict":              {edit(2, "Denied", "Allowed"), nil, 3},
		"an edited hash":                 {edit(4, `"hash":"`, `"hash":"0`), nil, 5},
		"an edited number":               {edit(2, `"seq":3`, `"seq":4`), nil, 3},
		"a field that nobody reads":      {edit(2, `"seq":3`, `"seq":3,"Seq":3`), nil, 3},
		"a space":                        {edit(2, `"seq":3`, `"seq": 3`), nil, 3},
		"what follows":                   {edit(1, `}}`, `}}{}`), nil, 2},
		"a signature":                    {edit(1, `"signature":"`, `"signature":"A`), public, 2},
		"no signature":                   {chained(t, nil, 3), public, 1},
		"another key":                    {chained(t, stranger, 3), public, 1},
		"another key to verify by":       {whole(), other, 1},
		"a line less":                    {append(whole()[:2], whole()[3:]...), nil, 3},
		"lines in another order":         {moved, nil, 2},
		"a line that was hashed anew":    {rehashed, nil, 4},
		"a line hashed anew, and signed": {rehashed[:3], public, 3},
		"no chain":                       {[][]byte{[]byte(`{"dropped":1}`)}, nil, 1},
		"no log":                         {[][]byte{[]byte("hello")}, nil, 1},
	} {
		if _, err := verify(c.lines, c.key); err == nil || !strings.HasPrefix(err.Error(), fmt.Sprintf("line %d: ", c.line)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// again is a line that somebody edits who knows how lines are hashed.
func again(t *testing.T, line []byte, key ed25519.PrivateKey, from, to string) []byte {
	t.Helper()
	var l Link
	if err := json.Unmarshal(line, &l); err != nil {
		t.Fatal(err)
	}
	c := Chain{Key: key}
	c.Continue(Link{Seq: l.Seq - 1, Hash: l.Before})
	out, err := c.Next(bytes.Replace(l.Entry, []byte(from), []byte(to), 1))
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// FuzzVerify: no line does harm, and one that is taken is one that is written so.
func FuzzVerify(f *testing.F) {
	f.Add([]byte(`{"seq":1,"before":"` + Beginning + `","entry":{"dropped":3},"hash":"00"}`))
	f.Add([]byte(`{"decision":{"id":"a"}}`))
	f.Add([]byte(`{"entry":{}}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		v := Verifier{}
		if err := v.Take(line); err == nil && (v.First == 0 && v.Last == 0 && v.Hash == "") {
			t.Errorf("%q was taken, and nothing found", line)
		}
		_, _, _, _ = ParseLine(line) // whatever it says
	})
}
