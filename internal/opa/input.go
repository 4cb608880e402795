package opa

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/open-policy-agent/opa/v1/ast"
)

// Input is what OPA is asked of one request, or connection: version 1 of what the package says. What is empty here
// is missing there.
type Input struct {
	Source      Source   `json:"source"`
	Destination Receiver `json:"destination"`
	Request     *Request `json:"request,omitempty"` // nil: a connection without HTTP
	JWT         Token    `json:"jwt"`
	Time        Moment   `json:"time"`
}

// Source is who calls.
type Source struct {
	Principal      string `json:"principal,omitempty"`
	TrustDomain    string `json:"trust_domain,omitempty"`
	Namespace      string `json:"namespace,omitempty"`
	ServiceAccount string `json:"service_account,omitempty"`
	IP             string `json:"ip,omitempty"`
}

// Receiver is who is called, and at which port.
type Receiver struct {
	Namespace      string            `json:"namespace,omitempty"`
	ServiceAccount string            `json:"service_account,omitempty"`
	Labels         map[string]string `json:"labels,omitempty"`
	Port           int32             `json:"port,omitempty"`
}

// Request is what is asked for.
type Request struct {
	Method   string            `json:"method,omitempty"`
	Path     string            `json:"path,omitempty"`
	Segments []string          `json:"segments,omitempty"`
	Host     string            `json:"host,omitempty"`
	Headers  map[string]string `json:"headers,omitempty"`
}

// Token is the verified one.
type Token struct {
	Claims map[string]any `json:"claims,omitempty"`
}

// Moment is when it is asked, in UTC.
type Moment struct {
	Hour    int `json:"hour"`
	Weekday int `json:"weekday"` // 0 is Sunday
}

// SourceOf is who has a SPIFFE ID; false if it is none of a ServiceAccount.
func SourceOf(id string) (Source, bool) {
	parts := strings.Split(id, "/")
	if len(parts) != 7 || parts[0] != "spiffe:" || parts[1] != "" || parts[3] != "ns" || parts[5] != "sa" || parts[2] == "" || parts[4] == "" || parts[6] == "" {
		return Source{}, false
	}
	return Source{Principal: id, TrustDomain: parts[2], Namespace: parts[4], ServiceAccount: parts[6]}, true
}

// RequestOf is a request as rules see it. The path is without the query, names of headers are in small letters.
func RequestOf(method, path, authority string, headers map[string][]string) *Request {
	host, _, _ := strings.Cut(strings.ToLower(authority), ":")
	out := &Request{Method: method, Path: path, Host: host, Segments: strings.Split(path, "/")[1:]}
	for name, values := range headers {
		if out.Headers == nil {
			out.Headers = map[string]string{}
		}
		out.Headers[name] = strings.Join(values, ",")
	}
	return out
}

// document is the Input as OPA is asked it.
func (in Input) document() (map[string]any, error) {
	text, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("write the input: %w", err)
	}
	var out map[string]any
	if err := json.Unmarshal(text, &out); err != nil {
		return nil, fmt.Errorf("read the input: %w", err)
	}
	return out, nil
}

// valueIn is the attribute in a document; false if it is missing.
func (a attribute) valueIn(document any) (any, bool) {
	at, err := ast.InterfaceToValue(document)
	if err != nil {
		return nil, false
	}
	ref := ast.Ref{}
	for i, word := range a {
		if i == 2 && a.segment() {
			ref = append(ref, ast.IntNumberTerm(a.index()))
			continue
		}
		ref = append(ref, ast.StringTerm(word))
	}
	found, err := at.Find(ref)
	if err != nil {
		return nil, false
	}
	out, err := ast.JSON(found)
	return out, err == nil
}
