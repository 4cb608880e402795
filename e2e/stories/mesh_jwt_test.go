package stories

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand"
	"net/http"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
)

const tokenPolicies = `
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: front}
spec:
  targetRefs: [{kind: Gateway, name: front}]
  jwt: {providers: [$PROVIDER]}
---
apiVersion: mesh.weft.dev/v1alpha1
kind: MeshPolicy
metadata: {name: app}
spec:
  targetRefs: [{kind: Service, name: echo, port: 80}]
  jwt: {providers: [$PROVIDER]}
`

// refresh is what the policies say.
const refresh = 10 * time.Second

// tokens is the story of a provider and of an app, which is called by a Gateway and by a pod in the mesh.
type tokens struct {
	*stage.Scene
	t        *testing.T
	from     *stage.Caller
	gateway  *stage.Gateway
	provider string // IP of its pod
	policies string
	first    string         // about nobody
	claims   map[string]any // of a good token
}

// TestTokens has a real OpenID provider make tokens. Good ones get through, at a Gateway and at the pod itself, and no
// others; a key that comes and one that goes are known within the time that the policy says; while the provider is
// away, tokens are verified by the keys of before, by a pod that starts then too. Who is of a plan, by a token, is served by other pods than others are. Policies that come, change and go
// fail no request.
func TestTokens(t *testing.T) {
	stage.Parallel(t)
	c := newTokens(t)
	good := c.mint(nil)
	c.Apply(c.first) // so that the keys are there when they are asked for
	c.Holds("first")
	c.held(good, func() {
		c.Apply(c.policies)
		c.Holds("front")
		c.Holds("app")
		c.Apply(strings.ReplaceAll(c.policies, "forward: true", "forward: true, claims: [{path: [aud], contains: [shop]}]"))
		c.Holds("front")
		c.Holds("app")
	})
	c.sorts(good)
	c.routes(good)
	c.malformed(150)
	c.rotates(good)
	c.away()
	good = c.mint(nil)
	c.held(good, func() {
		c.Remove(c.policies)
		c.becomes("", 200)
	})
}

func newTokens(t *testing.T) *tokens {
	t.Helper()
	c := &tokens{Scene: stage.NewMeshed(t, "tokens"), t: t}
	c.OnThisMachine()
	op, issuer := provider(t, c.Scene)
	echo(t, c.Scene, "echo", "declared", "{}")
	echo(t, c.Scene, "gold", "declared", "{}")
	caller(t, c.Scene, "caller", false)
	c.Apply(manifest(t, "mesh/gateway.yaml"))
	op.Rollout("provider")
	c.Rollout("echo")
	c.Rollout("gold")
	c.from, c.gateway, c.provider = c.Caller("caller"), c.Gateway("front"), op.Pod("provider").Status.PodIP
	c.claims = map[string]any{"iss": issuer, "aud": []string{"shop"}, "sub": "ann"}
	c.policies = strings.ReplaceAll(tokenPolicies, "$PROVIDER", fmt.Sprintf("{name: login, issuer: %q, audiences: [shop], forward: true, jwks: {remote: {uri: %q, refresh: %s}}, claimHeaders: [{path: [sub], header: x-user}]}", issuer, issuer+"/keys", refresh))
	c.first = strings.NewReplacer("name: app", "name: first", "{kind: Service, name: echo, port: 80}", "{kind: ServiceAccount, name: nobody}").Replace(c.policies[strings.Index(c.policies, "---")+4:])
	c.becomes("", 200)
	return c
}

// provider deploys an OpenID provider outside of the mesh, and does not wait for it.
func provider(t *testing.T, s *stage.Scene) (op *stage.Scene, issuer string) {
	t.Helper()
	if err := s.LoadProgram(t.Context(), "./e2e/apps/provider", stage.ProviderImage); err != nil {
		t.Fatal(err)
	}
	op = s.Outside("provider")
	op.Apply(manifest(t, "mesh/provider.yaml"))
	return op, "http://provider." + op.Namespace + ".svc:8080"
}

func (c *tokens) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// ask makes a request of the provider's pod, and returns the answer.
func (c *tokens) ask(port int, path, kind, body string) string {
	c.t.Helper()
	request, err := http.NewRequestWithContext(c.t.Context(), http.MethodPost, "http://"+at(c.provider, port)+path, strings.NewReader(body))
	c.must(err)
	request.Header.Set("Content-Type", kind)
	request.SetBasicAuth("sid1", "verysecret")
	response, err := http.DefaultClient.Do(request)
	c.must(err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	c.must(err)
	if response.StatusCode != http.StatusOK {
		c.t.Fatalf("%s: %d: %s", path, response.StatusCode, text)
	}
	return string(text)
}

// granted is a token as the provider gives it to a service.
func (c *tokens) granted() string {
	c.t.Helper()
	var answer struct {
		Token string `json:"access_token"`
	}
	c.must(json.Unmarshal([]byte(c.ask(8080, "/oauth/token", "application/x-www-form-urlencoded", "grant_type=client_credentials&scope=openid")), &answer))
	return answer.Token
}

// mint is a token of the provider's that says other things than a good one.
func (c *tokens) mint(more map[string]any) string {
	c.t.Helper()
	says := map[string]any{"exp": time.Now().Add(time.Hour).Unix()}
	for _, from := range []map[string]any{c.claims, more} {
		for name, value := range from {
			says[name] = value
		}
	}
	text, err := json.Marshal(says)
	c.must(err)
	return c.ask(8081, "/mint", "application/json", string(text))
}

// ways are those on which requests come to the app.
func (c *tokens) ways() map[string]func(token string) call.Outcome {
	to := func(address, token string) call.Request {
		r := call.Request{Protocol: call.HTTP, Address: address, Host: "echo.test", Headers: map[string]string{"X-User": "root"}}
		if token != "" {
			r.Headers["Authorization"] = "Bearer " + token
		}
		return r
	}
	return map[string]func(token string) call.Outcome{
		"by the Gateway": func(token string) call.Outcome { return call.Do(c.t.Context(), to(c.gateway.At(80), token)) },
		"from a pod":     func(token string) call.Outcome { return c.from.Call(to(at("echo", 80), token)) },
	}
}

// is wants requests with a token to be answered so, whichever way they come.
func (c *tokens) is(what, token string, status int) {
	c.t.Helper()
	for way, send := range c.ways() {
		out := send(token)
		if out.Status != status || (out.Answer.Pod == "") != (status != 200) {
			c.t.Errorf("a token %s, %s: status %d %s by pod %q, want %d", what, way, out.Status, out.Failed, out.Answer.Pod, status)
		}
		if user := out.Answer.Headers.Get("X-User"); status == 200 && user == "root" {
			c.t.Errorf("a token %s, %s: the app is told that root calls", what, way)
		}
	}
}

// becomes waits for that, and returns how long.
func (c *tokens) becomes(token string, status int) time.Duration {
	c.t.Helper()
	return c.comes(token, fmt.Sprintf("a request is answered %d", status), func(out call.Outcome) bool { return out.Status == status })
}

// comes waits for an answer, whichever way a request comes, and returns how long.
func (c *tokens) comes(token, what string, is func(call.Outcome) bool) time.Duration {
	c.t.Helper()
	return c.Until(time.Minute, what, func(context.Context) error {
		for way, send := range c.ways() {
			if out := send(token); !is(out) {
				return fmt.Errorf("%s: status %d %s by pod %q", way, out.Status, out.Failed, out.Answer.Pod)
			}
		}
		return nil
	})
}

// held calls and calls on both ways while something is done, and wants no call to fail.
func (c *tokens) held(token string, do func()) {
	c.t.Helper()
	done, ended := make(chan struct{}), make(chan []call.Outcome, 1)
	go func() {
		var all []call.Outcome
		defer func() { ended <- all }()
		for send := c.ways()["by the Gateway"]; ; {
			select {
			case <-done:
				return
			default:
				all = append(all, send(token))
			}
		}
	}()
	request := call.Request{Protocol: call.HTTP, Address: at("echo", 80), Headers: map[string]string{"Authorization": "Bearer " + token}}
	throughout(c.t, c.from, request, do)
	close(done)
	all := <-ended
	if failed, _ := bad(all); failed > 0 {
		c.t.Errorf("%d of %d calls by the Gateway failed", failed, len(all))
	}
	c.t.Logf("%d calls by the Gateway", len(all))
}

// sorts asks with tokens of each kind.
func (c *tokens) sorts(good string) {
	c.t.Helper()
	c.becomes("", 401)
	now := time.Now().Unix()
	head := func(alg string) string { return inBase64(map[string]any{"alg": alg, "kid": "key-1"}) }
	claims, signature := strings.Split(good, ".")[1], strings.Split(good, ".")[2]
	for what, k := range map[string]struct {
		token  string
		status int
	}{
		"that is good":                 {good, 200},
		"that the provider grants":     {c.granted(), 200},
		"that has expired":             {c.mint(map[string]any{"exp": now - 120}), 401},
		"that is not yet valid":        {c.mint(map[string]any{"nbf": now + 120}), 401},
		"of another issuer":            {c.mint(map[string]any{"iss": "http://other"}), 401},
		"for another audience":         {c.mint(map[string]any{"aud": "other"}), 403},
		"of alg none":                  {head("none") + "." + claims + ".", 401},
		"of alg none with a signature": {head("none") + "." + claims + "." + signature, 401},
		"of alg HS256":                 {head("HS256") + "." + claims + "." + signature, 401},
		"with another's claims":        {strings.Split(good, ".")[0] + "." + inBase64(map[string]any{"iss": c.claims["iss"], "aud": "shop", "sub": "root"}) + "." + signature, 401},
	} {
		c.is(what, k.token, k.status)
	}
	c.Step("good tokens get through, and no others")
}

func inBase64(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// malformed damages a good token in n ways: none gets through, and the proxies serve on.
func (c *tokens) malformed(n int) {
	c.t.Helper()
	good, chance := c.mint(nil), rand.New(rand.NewSource(1))
	before := c.Pod("echo").Status.ContainerStatuses
	for i := range n {
		token := damaged(chance, good, i)
		for way, send := range c.ways() {
			if out := send(token); out.Status == 200 || out.Answer.Pod != "" || out.Failed != "" {
				c.t.Errorf("%s, %q: status %d %s by pod %q", way, token, out.Status, out.Failed, out.Answer.Pod)
			}
		}
	}
	c.is("that is good, after all of these", good, 200)
	for i, s := range c.Pod("echo").Status.ContainerStatuses {
		if s.RestartCount != before[i].RestartCount {
			c.t.Errorf("container %s has restarted", s.Name)
		}
	}
	c.Step("%d malformed tokens are refused", n)
}

// damaged is a token with bytes that are lost, put in or others, or with one of its parts made anew.
func damaged(chance *rand.Rand, token string, i int) string {
	const letters = "ABCDEFabcdef0123456789-_.=+/{}[]\"%" // and no space, which Envoy passes over in a signature
	at := chance.Intn(len(token) - 2)                     // the last bits of Base64 mean nothing
	other := string(letters[chance.Intn(len(letters))])
	parts := strings.Split(token, ".")
	switch i % 6 {
	case 0:
		return token[:at] + token[at+1:]
	case 1:
		return token[:at] + other + token[at:]
	case 2:
		return token[:at]
	case 3:
		return strings.Repeat(token[:at]+".", 1+chance.Intn(8))
	case 4:
		parts[chance.Intn(3)] = inBase64(map[string]any{"alg": "ES256", "kid": strings.Repeat(other, chance.Intn(4000)), "iss": []int{chance.Int()}})
	default:
		parts[chance.Intn(3)] = ""
	}
	return strings.Join(parts, ".")
}

// rotates has the provider sign by another key, and then withdraw the first.
func (c *tokens) rotates(old string) {
	c.t.Helper()
	c.ask(8081, "/rotate", "", "")
	fresh := c.mint(nil)
	took := c.becomes(fresh, 200)
	c.is("by the key before", old, 200)
	c.ask(8081, "/revoke", "", "")
	gone := c.becomes(old, 401)
	c.is("by the new key", fresh, 200)
	if took > refresh+10*time.Second || gone > refresh+10*time.Second {
		c.t.Errorf("a new key is known after %s, one that is withdrawn after %s", took, gone)
	}
	c.Step("a new key works after %s, a withdrawn one no more after %s", took.Round(100*time.Millisecond), gone.Round(100*time.Millisecond))
}

// message is what a policy says of being ready.
func (c *tokens) message(ctx context.Context, policy string) (string, error) {
	var p v1alpha1.MeshPolicy
	if err := c.Get(ctx, c.Key(policy), &p); err != nil {
		return "", err
	}
	ready := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil {
		return "", nil
	}
	return ready.Message, nil
}

// away has the provider answer nothing, and a pod start meanwhile.
func (c *tokens) away() {
	c.t.Helper()
	good := c.mint(nil)
	c.ask(8081, "/away?is=true", "", "")
	c.Until(time.Minute, "the policy tells of it", func(ctx context.Context) error {
		message, err := c.message(ctx, "app")
		if err == nil && !strings.Contains(message, "what was fetched before stays in force") {
			err = fmt.Errorf("it says %q", message)
		}
		return err
	})
	c.Holds("app")
	c.is("while the provider is away", good, 200)
	c.is("that is none, while the provider is away", "", 401)
	c.must(c.Roll(c.t.Context(), c.Namespace, "echo", 3*time.Minute))
	c.becomes(good, 200)
	c.is("that is none, of a pod that started while the provider is away", "", 401)
	c.ask(8081, "/away?is=false", "", "")
	c.Step("while the provider is away, the keys of before hold, for a new pod too")
}
