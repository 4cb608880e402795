package basicauth

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/policy/room"
)

const (
	// MaxUsers is how many users a policy may have.
	MaxUsers = 1000
	// MaxUser is how long a name may be, in bytes.
	MaxUser = 255
)

// line is one of a file that htpasswd writes.
type line struct {
	number     int
	user, hash string
}

// read finds how the passwords of a Secret's users are hashed. A line that is wrong, and those of a user who has
// several passwords, let nobody in. What it says of them has nothing of what is in them.
func read(secrets []room.Credentials, key string) (room.Pairs, []string) {
	users, flaws := room.Pairs{}, []string(nil)
	for _, s := range secrets {
		text, has := s.Data[key]
		where := fmt.Sprintf("data[%q] of Secret %s", key, s.Secret)
		if !has {
			flaws = append(flaws, fmt.Sprintf("Secret %s has no data[%q]: add it, or name another key", s.Secret, key))
			continue
		}
		lines, problems := parse(string(text), where)
		switch {
		case len(lines) > MaxUsers:
			return nil, []string{fmt.Sprintf("%s has %d users, and may have %d", where, len(lines), MaxUsers)}
		case len(lines)+len(problems) == 0:
			problems = []string{where + " has no user: write a line of user:{SHA}hash for each, by htpasswd -s"}
		}
		var torn []string
		users, torn = passwords(lines, where)
		flaws = append(append(flaws, problems...), torn...)
	}
	return users, flaws
}

// parse reads the lines of a file, which is called where.
func parse(text, where string) (lines []line, problems []string) {
	n := 0
	for raw := range strings.Lines(text) {
		n++
		raw = strings.TrimSpace(raw)
		if raw == "" || strings.HasPrefix(raw, "#") {
			continue
		}
		user, hash, is := strings.Cut(raw, ":")
		problem := ""
		switch {
		case !is:
			problem = "is not user:{SHA}hash"
		case user == "" || len(user) > MaxUser || strings.ContainsFunc(user, func(r rune) bool { return r < ' ' || r > '~' }):
			problem = fmt.Sprintf("has no name that a user can have: 1 to %d characters of ASCII", MaxUser)
		default:
			problem = unusable(hash)
		}
		if problem != "" {
			problems = append(problems, fmt.Sprintf("line %d of %s %s", n, where, problem))
			continue
		}
		lines = append(lines, line{n, user, hash})
	}
	return lines, problems
}

// hashes are those that proxies do not know, by how they begin.
var hashes = []struct{ prefix, name string }{
	{"$2", "bcrypt"}, {"$apr1$", "MD5"}, {"$1$", "MD5"}, {"$5$", "SHA-256"}, {"$6$", "SHA-512"}, {"$y$", "yescrypt"}, {"$argon2", "Argon2"}, {"{SSHA}", "salted SHA-1"},
}

// sha is what a hash begins with that proxies know: SHA-1, in Base64.
const sha = "{SHA}"

// unusable says why by a hash no password can be verified; "": it can.
func unusable(hash string) string {
	for _, h := range hashes {
		if strings.HasPrefix(hash, h.prefix) {
			return fmt.Sprintf("has a password hashed by %s: proxies know %s alone, write it by htpasswd -s", h.name, sha)
		}
	}
	digest, is := strings.CutPrefix(hash, sha)
	if !is {
		return fmt.Sprintf("has a password by crypt, or as it is: proxies know %s alone, write it by htpasswd -s", sha)
	}
	if raw, err := base64.StdEncoding.Strict().DecodeString(digest); err != nil || len(raw) != 20 {
		return fmt.Sprintf("has no whole hash after %s: write it by htpasswd -s", sha)
	}
	return ""
}

// passwords are those of users who have one.
func passwords(lines []line, where string) (users room.Pairs, torn []string) {
	users = room.Pairs{}
	at := map[string][]line{}
	for _, l := range lines {
		at[l.user] = append(at[l.user], l)
	}
	for user, of := range at {
		if slices.ContainsFunc(of, func(l line) bool { return l.hash != of[0].hash }) {
			torn = append(torn, fmt.Sprintf("lines %d and %d of %s are of one user: keep one", of[0].number, of[len(of)-1].number, where))
			continue
		}
		users[user] = of[0].hash
	}
	slices.Sort(torn)
	return users, torn
}
