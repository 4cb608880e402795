package room

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
)

const certificateBlock = "CERTIFICATE"

// AddCertificate writes one in PEM.
func AddCertificate(out *bytes.Buffer, der []byte) {
	_ = pem.Encode(out, &pem.Block{Type: certificateBlock, Bytes: der}) // a Buffer takes all
}

// Authorities are the certificates of a text in PEM, written anew, for Envoy would refuse what else it may hold; or what
// it holds instead.
func Authorities(text []byte) (certificates []byte, problem string) {
	var out bytes.Buffer
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != certificateBlock {
			continue
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return nil, "what is no certificate: " + err.Error()
		}
		AddCertificate(&out, block.Bytes)
	}
	if out.Len() == 0 {
		return nil, "no certificate in PEM"
	}
	return out.Bytes(), ""
}
