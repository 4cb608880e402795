package why

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

var (
	escapedSlash = regexp.MustCompile(`(?i)%2f|%5c`)
	dotsWith     = regexp.MustCompile(`/(\.\.?);[^/]*`)
	noEncoding   = regexp.MustCompile(`%(?:[^0-9a-fA-F]|[0-9a-fA-F][^0-9a-fA-F]|.?$)`)
)

// PathOf is the path of a request, without the query, as proxies read it before anybody decides, and what has it
// refused with 400; "": nothing.
func PathOf(sent string) (path, problem string) {
	path, _, _ = strings.Cut(sent, "?")
	switch at := escapedSlash.FindString(path); {
	case at != "":
		return path, fmt.Sprintf("the path has an encoded slash or backslash, %s: proxies refuse that whatever policies say", at)
	case strings.Contains(path, "#"):
		return path, "the path has a #: proxies refuse that whatever policies say"
	case strings.Contains(path, "%00") || strings.ContainsFunc(path, func(c rune) bool { return c <= ' ' || c >= 0x7f }):
		return path, "the path has what is not printable ASCII, or an encoded NUL: proxies refuse that whatever policies say"
	case noEncoding.MatchString(path):
		return path, "the path has a % that encodes nothing: proxies refuse that whatever policies say"
	}
	path = dotsWith.ReplaceAllString(strings.ReplaceAll(path, `\`, "/"), "/$1") // where these are written as such
	return merged(resolved(decoded(path))), ""
}

// decoded is a path without the encodings that it does not need, and with those that it does.
func decoded(path string) string {
	var out strings.Builder
	for i := 0; i < len(path); i++ {
		c := path[i]
		if c == '%' && i+2 < len(path) {
			if n, err := strconv.ParseUint(path[i+1:i+3], 16, 8); err == nil && unreserved(byte(n)) {
				c, i = byte(n), i+2
			}
		}
		if strings.IndexByte("\"<>^`{|}", c) >= 0 {
			fmt.Fprintf(&out, "%%%02X", c)
		} else {
			out.WriteByte(c)
		}
	}
	return out.String()
}

func unreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// resolved is a path without . and .. in it.
func resolved(path string) string {
	segments := strings.Split(path, "/")
	var out []string
	for i, s := range segments {
		last := i == len(segments)-1
		switch s {
		case "..":
			if len(out) > 1 {
				out = out[:len(out)-1]
			}
			if last {
				out = append(out, "")
			}
		case ".":
			if last {
				out = append(out, "")
			}
		default:
			out = append(out, s)
		}
	}
	return strings.Join(out, "/")
}

// withoutDot is an authority as proxies read it: without one dot at the end of its name.
func withoutDot(authority string) string {
	host, port, has := strings.Cut(authority, ":")
	if host = strings.TrimSuffix(host, "."); has {
		return host + ":" + port
	}
	return host
}

var slashes = regexp.MustCompile("/{2,}")

// merged has one slash for several; of a path of nothing but slashes Envoy leaves the first and the last.
func merged(path string) string {
	if len(path) > 1 && strings.Trim(path, "/") == "" {
		return "//"
	}
	return slashes.ReplaceAllString(path, "/")
}
