package gateway

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"time"
)

// maxRoots bounds the bundle that proxies trust: the current authorities, then those before them.
const maxRoots = 8

// Roots are the authorities that proxies trust to sign the xDS server's certificate: those of
// each bundle (PEM), in order, without repeats and without those that expired by now. With the
// current bundle first and the bundle that was published before second, an authority can be
// replaced while proxies and servers still know the old one.
func Roots(now time.Time, bundles ...[]byte) []byte {
	seen := map[string]bool{}
	var out bytes.Buffer
	for _, bundle := range bundles {
		for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
			if seen[string(block.Bytes)] || len(seen) == maxRoots || !valid(block, now) {
				continue
			}
			seen[string(block.Bytes)] = true
			_ = pem.Encode(&out, &pem.Block{Type: block.Type, Bytes: block.Bytes}) // a Buffer takes all
		}
	}
	return out.Bytes()
}

func valid(block *pem.Block, now time.Time) bool {
	if block.Type != "CERTIFICATE" {
		return false
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	return err == nil && now.Before(cert.NotAfter)
}
