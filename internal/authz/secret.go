package authz

import "strings"

// secrets are headers that carry what lets somebody in. What they say is told nobody.
var secrets = map[string]bool{"authorization": true, "cookie": true, "proxy-authorization": true, "set-cookie": true}

// Secret says whether a header may carry what lets somebody in, by its name in small letters.
func Secret(header string) bool {
	for _, word := range []string{"api-key", "apikey", "password", "secret", "token"} {
		if strings.Contains(header, word) {
			return true
		}
	}
	return secrets[header]
}
