package apikey

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/policy/room"
)

const (
	// MaxKeys is how many keys the Secrets of a policy may have.
	MaxKeys = 1000
	// MaxKey is how long one may be, in bytes.
	MaxKey = 256
)

// read finds whose each key is that Secrets have. A key that is none, and one that two clients have, lets nobody in.
func read(secrets []room.Credentials) (room.Pairs, []string) {
	var flaws []string
	owners := map[string][]string{} // of a key: the entries that have it
	clients, n := room.Pairs{}, 0
	for _, s := range secrets {
		if len(s.Data) == 0 {
			flaws = append(flaws, fmt.Sprintf("Secret %s has no entry: add the key of each client under the client's name", s.Secret))
		}
		for _, client := range slices.Sorted(maps.Keys(s.Data)) {
			key := trimmed(s.Data[client])
			if problem := problemOf(key); problem != "" {
				flaws = append(flaws, fmt.Sprintf("data[%q] of Secret %s %s", client, s.Secret, problem))
				continue
			}
			n++
			owners[key] = append(owners[key], fmt.Sprintf("data[%q] of Secret %s", client, s.Secret))
			if was, is := clients[key]; is && was != client {
				client = "" // nobody's
			}
			clients[key] = client
		}
	}
	if n > MaxKeys {
		return nil, []string{fmt.Sprintf("there are %d keys, and a policy may have %d: write another policy for some, about something else", n, MaxKeys)}
	}
	return owned(clients), append(flaws, shared(clients, owners)...)
}

func owned(clients room.Pairs) room.Pairs {
	out := maps.Clone(clients)
	maps.DeleteFunc(out, func(_, client string) bool { return client == "" })
	return out
}

// shared tells of the keys that are nobody's.
func shared(clients room.Pairs, owners map[string][]string) (flaws []string) {
	for key, client := range clients {
		if client == "" {
			flaws = append(flaws, strings.Join(owners[key], " and ")+" are the same key: give each client one of its own")
		}
	}
	slices.Sort(flaws)
	return flaws
}

// trimmed leaves out the line break that editors and echo put at the end of a file.
func trimmed(raw []byte) string {
	return string(bytes.TrimSuffix(bytes.TrimSuffix(raw, []byte("\n")), []byte("\r")))
}

// problemOf says why a key is none, and nothing of what it is.
func problemOf(key string) string {
	switch {
	case key == "":
		return "is empty: write a key, or remove it"
	case len(key) > MaxKey:
		return fmt.Sprintf("has %d bytes, and a key may have %d: write another", len(key), MaxKey)
	case strings.ContainsFunc(key, func(r rune) bool { return r <= ' ' || r > '~' }):
		return "has a space, or something else that is no visible character of ASCII: write another"
	}
	return ""
}
