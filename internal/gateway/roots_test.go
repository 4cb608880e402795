package gateway

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"slices"
	"testing"
	"time"
)

var today = time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)

func authority(t *testing.T, until time.Time) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: today.AddDate(-1, 0, 0), NotAfter: until, IsCA: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func TestRootsOverlapWhileTheOldOneIsValid(t *testing.T) {
	old, current := authority(t, today.AddDate(0, 1, 0)), authority(t, today.AddDate(5, 0, 0))
	published := Roots(today, old)
	both := Roots(today, current, published)
	if !bytes.Equal(both, slices.Concat(current, old)) {
		t.Errorf("after the change of authority: %s", both)
	}
	if again := Roots(today, current, both); !bytes.Equal(again, both) {
		t.Errorf("not stable: %s", again)
	}
	if later := Roots(today.AddDate(0, 2, 0), current, both); !bytes.Equal(later, current) {
		t.Errorf("after the old one expired: %s", later)
	}
}

func TestRootsKeepOutWhatIsNoCertificate(t *testing.T) {
	good := authority(t, today.AddDate(1, 0, 0))
	key := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: []byte("secret")})
	broken := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("nonsense")})
	if got := Roots(today, slices.Concat([]byte("text"), key, broken, good)); !bytes.Equal(got, good) {
		t.Errorf("got %s", got)
	}
}

func TestRootsAreBounded(t *testing.T) {
	var many []byte
	for range maxRoots + 3 {
		many = append(many, authority(t, today.AddDate(1, 0, 0))...)
	}
	if got := bytes.Count(Roots(today, many), []byte("BEGIN CERTIFICATE")); got != maxRoots {
		t.Errorf("%d roots", got)
	}
}
