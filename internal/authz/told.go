package authz

// State is the filter state in which a proxy has what it tells of a request, as JSON of Told: from before the filters
// that decide, so that no Route has changed it.
const State = "weft.decision"

// Told is that.
type Told struct {
	Law     string            `json:"law"` // its Text
	Method  string            `json:"method,omitempty"`
	Path    string            `json:"path,omitempty"` // without the query
	Host    string            `json:"host,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
}
