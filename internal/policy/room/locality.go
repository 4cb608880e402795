package room

import (
	"slices"
	"strings"
)

// Locality is where a proxy or an endpoint is, as labels of its Node say: "name=value" of each that has a
// value, in the order of the names, with commas between them. Empty where nothing is known.
type Locality string

// LocalityOf is what those labels say that are named.
func LocalityOf(labels map[string]string, names []string) Locality {
	var all []string
	for _, name := range names {
		if value := labels[name]; value != "" {
			all = append(all, name+"="+value)
		}
	}
	slices.Sort(all)
	return Locality(strings.Join(slices.Compact(all), ","))
}

// Value is that of a label; empty where it has none.
func (l Locality) Value(name string) string {
	for one := range strings.SplitSeq(string(l), ",") {
		if value, is := strings.CutPrefix(one, name+"="); is {
			return value
		}
	}
	return ""
}

// Only is what those labels say of it that are named.
func (l Locality) Only(names []string) Locality {
	labels := map[string]string{}
	for _, name := range names {
		labels[name] = l.Value(name)
	}
	return LocalityOf(labels, names)
}

// Group are the endpoints of a Service's port that are at one Locality.
type Group struct {
	At    Locality
	Ready int // those that may be sent to
	All   int // with those that are missing
}

// Share is what a Group gets.
type Share struct {
	// Priority is 0 where what is sent goes; further ones get it while those before them are missing for the
	// proxy that sends.
	Priority uint32
	// Weight is the Group's part of what goes to its Priority; never 0 if some are ready.
	Weight uint32
	// Near is the label by which the Group is near; empty: by none.
	Near string
}
