package envoy_test

import (
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/api/v1alpha1"
	"github.com/weft-mesh/weft/internal/policy/room"
)

// keyDemand is a policy's section apiKey, of a level, and whose each key is.
func keyDemand(t *testing.T, at room.Level, text string, clients room.Pairs) room.Decided {
	t.Helper()
	says := &v1alpha1.APIKey{}
	if err := yaml.UnmarshalStrict([]byte(text), says); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return room.Decided{Section: "apiKey", Policy: fmt.Sprintf("shop/level-%d", at), Level: at, Says: says, Referents: []room.Referent{{Text: clients.Text()}}}
}

// userDemand is a policy's section basicAuth, of a level, and how its users' passwords are hashed.
func userDemand(t *testing.T, at room.Level, text string, users room.Pairs) room.Decided {
	t.Helper()
	says := &v1alpha1.BasicAuth{}
	if err := yaml.UnmarshalStrict([]byte(text), says); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return room.Decided{Section: "basicAuth", Policy: fmt.Sprintf("shop/level-%d", at), Level: at, Says: says, Referents: []room.Referent{{Text: users.Text()}}}
}

// The passwords "secret", "other" and "", hashed.
const (
	ofSecret = "{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ="
	ofOther  = "{SHA}0JQeaNqPOBUf+Gph/Fn3xc+fyqI="
	ofNone   = "{SHA}2jmj7l5rSw0yVb/vlWAYkK/YBwk="
)

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

// came is what an app was asked and told.
type came struct {
	status       int
	client, left string // who calls, and what the app is given of the places that were looked at
}

// TestAPIKeys asks a real Envoy with keys of each kind in each place.
func TestAPIKeys(t *testing.T) {
	t.Parallel()
	keys := room.Pairs{"key-of-ann": "ann", "key-of-bob": "bob"}
	many := "from: [{header: X-Key}, {queryParam: key}, {cookie: key}], clientHeader: X-Client"
	g := world{endpoints: echoes(t, "a"), hosts: guardedHost(t, map[string][]room.Decided{
		"/one":  {keyDemand(t, room.AtService, "{}", keys)},
		"/many": {keyDemand(t, room.AtService, "{"+many+"}", keys)},
		"/kept": {keyDemand(t, room.AtService, "{forward: true, "+many+"}", keys)},
		"/mesh": {keyDemand(t, room.AtMesh, "{"+many+"}", keys), keyDemand(t, room.AtRoute, "{"+many+"}", keys)},
	})}.start(t)
	for _, c := range []struct {
		path    string
		headers []string
		came
	}{
		{"/one", []string{"x-api-key", "key-of-ann"}, came{200, "root", ""}},
		{"/one", []string{"x-api-key", "Bearer key-of-ann"}, came{200, "root", ""}},
		{"/one", []string{"x-api-key", "key-of-ann", "x-api-key", "x"}, came{200, "root", ""}},
		{"/one", []string{"x-api-key", "x", "x-api-key", "key-of-ann"}, came{401, "", ""}},
		{"/one", []string{"x-api-key", "key-of-ann,key-of-ann"}, came{401, "", ""}},
		{"/one", []string{"x-api-key", "KEY-OF-ANN"}, came{401, "", ""}},
		{"/one", []string{"x-api-key", "ann"}, came{401, "", ""}},
		{"/one", []string{"x-api-key", ""}, came{401, "", ""}},
		{"/one", nil, came{401, "", ""}},
		{"/one?x-api-key=key-of-ann", nil, came{401, "", ""}},
		{"/many", []string{"x-key", "key-of-ann"}, came{200, "ann", ""}},
		{"/many?a=b&key=key-of-bob&c=d", nil, came{200, "bob", "/many?a=b&c=d"}},
		{"/many?key=key%2dof-bob&key=x", nil, came{200, "bob", ""}},
		{"/many?key=x&key=key-of-bob", nil, came{401, "", ""}},
		{"/many", []string{"cookie", "a=b; key=key-of-bob;c=d; key=x"}, came{200, "bob", "a=b; c=d"}},
		{"/many", []string{"cookie", "key=key-of-bob"}, came{200, "bob", ""}},
		{"/many", []string{"cookie", "akey=key-of-bob"}, came{401, "", ""}},
		{"/many?key=key-of-bob", []string{"x-key", "x"}, came{401, "", ""}},                       // the first place has something
		{"/many?key=x", []string{"x-key", "key-of-ann", "cookie", "key=x"}, came{200, "ann", ""}}, // and decides
		{"/many", []string{"authorization", "Bearer key-of-ann"}, came{401, "", ""}},
		{"/kept", []string{"x-key", "key-of-ann"}, came{200, "ann", "key-of-ann"}},
		{"/kept?key=key-of-bob", nil, came{200, "bob", "/kept?key=key-of-bob"}},
		{"/kept", []string{"cookie", "key=key-of-bob"}, came{200, "bob", "key=key-of-bob"}},
		{"/mesh", []string{"x-key", "key-of-ann"}, came{200, "ann", "key-of-ann"}}, // the sidecar asks for it again
		{"/mesh", []string{"cookie", "key=key-of-ann"}, came{200, "ann", "key=key-of-ann"}},
	} {
		response, got := g.send(t, "GET", c.path, append([]string{"x-client", "root", "x-client", "eve"}, c.headers...)...)
		is := came{response.StatusCode, strings.TrimSuffix(strings.Join(got.Header.Values("x-client"), "+"), "+eve"), got.Header.Get("x-api-key") + got.Header.Get("x-key") + got.Header.Get("cookie")}
		if strings.Contains(c.path, "?") && is.status == 200 && is.left == "" && got.Path != "/many" {
			is.left = got.Path
		}
		if is != c.came {
			t.Errorf("%s with %q: %+v, want %+v", c.path, c.headers, is, c.came)
		}
	}
	response, _ := g.send(t, "POST", "/one", "content-type", "application/grpc")
	if got := response.Header.Get("Grpc-Status"); got != "16" {
		t.Errorf("of gRPC: status %q", got)
	}
}

// TestUsers asks a real Envoy as users and as others.
func TestUsers(t *testing.T) {
	t.Parallel()
	users := room.Pairs{"ann": ofSecret, "bob": ofOther, "eve": ofNone, "a b": ofSecret}
	g := world{endpoints: echoes(t, "a"), hosts: guardedHost(t, map[string][]room.Decided{
		"/one":  {userDemand(t, room.AtService, "{realm: the shop}", users)},
		"/told": {userDemand(t, room.AtService, "{realm: the shop, userHeader: X-User}", users)},
		"/kept": {userDemand(t, room.AtService, "{realm: the shop, forward: true}", users)},
		"/mesh": {userDemand(t, room.AtMesh, "{realm: the shop}", users), userDemand(t, room.AtRoute, "{realm: the shop}", users)},
	})}.start(t)
	for _, c := range []struct {
		path, authorization string
		came
	}{
		{"/one", basic("ann", "secret"), came{200, "root", ""}},
		{"/one", strings.TrimRight(basic("ann", "secret"), "="), came{200, "root", ""}},
		{"/one", basic("ann", "other"), came{401, "", ""}},
		{"/one", basic("ann", ""), came{401, "", ""}},
		{"/one", basic("ann", ofSecret), came{401, "", ""}},
		{"/one", basic("Ann", "secret"), came{401, "", ""}},
		{"/one", basic("", "secret"), came{401, "", ""}},
		{"/one", "Basic " + base64.StdEncoding.EncodeToString([]byte("ann")), came{401, "", ""}},
		{"/one", "Basic ann:secret", came{401, "", ""}},
		{"/one", "basic " + basic("ann", "secret")[6:], came{401, "", ""}},
		{"/one", "Bearer " + basic("ann", "secret")[6:], came{401, "", ""}},
		{"/one", basic("ann", "secret") + "," + basic("ann", "secret"), came{401, "", ""}},
		{"/one", "", came{401, "", ""}},
		{"/told", basic("bob", "other"), came{200, "bob", ""}},
		{"/told", basic("a b", "secret"), came{200, "a b", ""}},
		{"/kept", basic("ann", "secret"), came{200, "root", basic("ann", "secret")}},
		{"/mesh", basic("ann", "secret"), came{200, "root", basic("ann", "secret")}},
	} {
		response, got := g.send(t, "GET", c.path, "x-user", "root", "x-user", "eve", "authorization", c.authorization)
		is := came{response.StatusCode, strings.TrimSuffix(strings.Join(got.Header.Values("x-user"), "+"), "+eve"), got.Header.Get("authorization")}
		if is != c.came {
			t.Errorf("%s with %q: %+v, want %+v", c.path, c.authorization, is, c.came)
		}
		if asked := response.Header.Get("WWW-Authenticate"); is.status == 401 && asked != `Basic realm="the shop"` {
			t.Errorf("%s with %q: it is asked for by %q", c.path, c.authorization, asked)
		}
	}
	response, _ := g.send(t, "GET", "/one", "authorization", basic("ann", "secret"), "authorization", basic("ann", "x"))
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("with two passwords: %d", response.StatusCode)
	}
}

// TestLevelsOfCredentials: whichever two levels demand keys, or passwords, or one of each, both must be satisfied;
// policies of one level add up.
func TestLevelsOfCredentials(t *testing.T) {
	t.Parallel()
	keys := func(at room.Level, key, place string) room.Decided {
		return keyDemand(t, at, "{from: [{header: "+place+"}], clientHeader: x-"+key+"}", room.Pairs{key: key})
	}
	users := func(at room.Level, users room.Pairs) room.Decided { return userDemand(t, at, "{realm: x}", users) }
	paths, same := map[string][]room.Decided{}, map[string]bool{}
	for out := room.AtMesh; out <= room.AtRule; out++ {
		for in := out; in <= room.AtRule; in++ {
			at := fmt.Sprintf("/%d-%d", out, in)
			paths["/keys"+at] = []room.Decided{keys(out, "outer", "x-a"), keys(in, "inner", "x-b")}
			paths["/users"+at] = []room.Decided{users(out, room.Pairs{"ann": ofSecret, "bob": ofSecret}), users(in, room.Pairs{"ann": ofSecret, "eve": ofSecret})}
			paths["/both"+at] = []room.Decided{keys(out, "outer", "x-a"), users(in, room.Pairs{"ann": ofSecret})}
			for _, kind := range []string{"/keys", "/users", "/both"} {
				same[kind+at] = out == in
				paths[kind+at][1].Policy += "-too"
			}
		}
	}
	g := world{endpoints: echoes(t, "a"), hosts: guardedHost(t, paths)}.start(t)
	for path := range paths {
		either := map[bool]int{true: 200, false: 401}[same[path]]
		for name, c := range triesOf(path, either) {
			response, _ := g.send(t, "GET", path, "x-a", c.a, "x-b", c.b, "authorization", basic(c.user, "secret"))
			if response.StatusCode != c.status {
				t.Errorf("%s: %s: %d, want %d", path, name, response.StatusCode, c.status)
			}
		}
	}
}

type try struct {
	a, b, user string
	status     int
}

// triesOf are those of a path; either is what comes of what one of two policies of a level is content with.
func triesOf(path string, either int) map[string]try {
	switch strings.Split(path, "/")[1] {
	case "keys": // of one level they clash: they look for the key in different places, and the older holds
		return map[string]try{
			"both": {"outer", "inner", "", 200}, "the outer's alone": {"outer", "", "", either},
			"the inner's alone": {"", "inner", "", 401}, "the other way round": {"inner", "outer", "", 401},
		}
	case "users":
		return map[string]try{"ann": {"", "", "ann", 200}, "bob": {"", "", "bob", either}, "eve": {"", "", "eve", either}, "another": {"", "", "x", 401}}
	}
	return map[string]try{"both": {"outer", "", "ann", 200}, "the key alone": {"outer", "", "", 401}, "the password alone": {"", "", "ann", 401}}
}

// TestNoCredentials: a level without any lets nobody in, and neither does what two policies of one level say otherwise
// of.
func TestNoCredentials(t *testing.T) {
	t.Parallel()
	ann := room.Pairs{"key-of-ann": "ann"}
	other := keyDemand(t, room.AtRoute, "{}", room.Pairs{"key-of-ann": "bob", "key-of-bob": "bob"})
	other.Policy += "-too"
	user := userDemand(t, room.AtRoute, "{}", room.Pairs{"ann": ofOther, "bob": ofSecret})
	user.Policy += "-too"
	g := world{endpoints: echoes(t, "a"), hosts: guardedHost(t, map[string][]room.Decided{
		"/none":  {keyDemand(t, room.AtRoute, "{}", nil)},
		"/outer": {keyDemand(t, room.AtMesh, "{}", nil), keyDemand(t, room.AtRoute, "{}", ann)},
		"/users": {userDemand(t, room.AtRoute, "{}", nil)},
		"/torn":  {keyDemand(t, room.AtRoute, "{}", ann), other},
		"/twice": {userDemand(t, room.AtRoute, "{}", room.Pairs{"ann": ofSecret, "eve": ofSecret}), user},
		"/free":  nil,
	})}.start(t)
	for _, c := range []struct {
		path, key, user string
		status          int
	}{
		{"/none", "key-of-ann", "", 503}, {"/outer", "key-of-ann", "", 503}, {"/users", "", "ann", 503}, {"/free", "", "", 200},
		{"/torn", "key-of-ann", "", 401}, {"/torn", "key-of-bob", "", 200},
		{"/twice", "", "ann", 401}, {"/twice", "", "bob", 200}, {"/twice", "", "eve", 200},
	} {
		if response, _ := g.send(t, "GET", c.path, "x-api-key", c.key, "authorization", basic(c.user, "secret")); response.StatusCode != c.status {
			t.Errorf("%s with the key %q, as user %q: %d, want %d", c.path, c.key, c.user, response.StatusCode, c.status)
		}
	}
}

// TestCredentialsAreNotShown: who may read all that a proxy tells of itself finds no key in it, and no hash.
func TestCredentialsAreNotShown(t *testing.T) {
	t.Parallel()
	g := world{endpoints: echoes(t, "a"), hosts: guardedHost(t, map[string][]room.Decided{
		"/": {keyDemand(t, room.AtService, "{}", room.Pairs{"key-of-ann": "ann"}), userDemand(t, room.AtService, "{}", room.Pairs{"ann": ofSecret})},
	})}.start(t)
	if response, _ := g.send(t, "GET", "/", "x-api-key", "key-of-ann", "authorization", basic("ann", "secret")); response.StatusCode != 200 {
		t.Fatalf("with both: %d", response.StatusCode)
	}
	shown := g.shows(t, g.admin)
	if strings.Count(shown, "api_key_auth.v3.ApiKeyAuth") == 0 || strings.Count(shown, "basic_auth.v3.BasicAuth") == 0 {
		t.Errorf("it does not show that anything is asked for")
	}
}

// shows is all that a proxy tells of itself, in which nothing is that opens anything.
func (g *gateway) shows(t *testing.T, admin string) string {
	t.Helper()
	all := g.log.String()
	for _, path := range []string{"/config_dump?include_eds", "/config_dump?resource=ecds_filters", "/init_dump", "/clusters", "/listeners", "/stats", "/server_info"} {
		response, err := client.Get(admin + path)
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(response.Body)
		response.Body.Close()
		if err != nil {
			t.Fatal(err)
		}
		all += string(text)
	}
	for _, secret := range []string{"key-of-", ofSecret[5:], ofOther[5:], ofNone[5:], basic("ann", "secret")[6:]} {
		if at := strings.Index(all, secret); at >= 0 {
			t.Errorf("%q is shown: %.200q", secret, all[max(0, at-100):])
		}
	}
	return all
}
