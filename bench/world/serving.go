package world

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"os"
	"strconv"
	"time"
)

// ServerName is the name in the certificate of a measured server.
const ServerName = "xds.bench"

// Certificate returns a certificate for ServerName, and writes it to the file that the
// load reads as its roots.
func Certificate(roots string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	of := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{ServerName}, NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, of, of, key.Public(), key)
	if err != nil {
		return nil, err
	}
	body := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if err := os.WriteFile(roots, body, 0o600); err != nil {
		return nil, fmt.Errorf("write the roots: %w", err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

// Handle serves a change under a path of the control port. It answers with the time at
// which the change began, in Unix nanoseconds.
func Handle(path string, change func(n int)) {
	http.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.FormValue("iter"))
		if err != nil {
			http.Error(w, "iter is not a number", http.StatusBadRequest)
			return
		}
		begun := time.Now().UnixNano()
		change(n)
		fmt.Fprintln(w, begun)
	})
}
