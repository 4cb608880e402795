package journal

import (
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

// PrivateKey reads one of ed25519, in PEM of PKCS #8, as openssl genpkey writes it.
func PrivateKey(text []byte) (ed25519.PrivateKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("it is no PEM: make one by openssl genpkey -algorithm ed25519")
	}
	found, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, errors.New("it is no key in PKCS #8: make one by openssl genpkey -algorithm ed25519") // the error may have some of it
	}
	key, is := found.(ed25519.PrivateKey)
	if !is {
		return nil, fmt.Errorf("it is a %T: make one by openssl genpkey -algorithm ed25519", found)
	}
	return key, nil
}

// PublicKey reads one, in PEM, or that of a private key.
func PublicKey(text []byte) (ed25519.PublicKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, errors.New("it is no PEM: write one by openssl pkey -pubout")
	}
	if key, err := PrivateKey(text); err == nil {
		return key.Public().(ed25519.PublicKey), nil
	}
	found, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("it is no public key: %w", err)
	}
	key, is := found.(ed25519.PublicKey)
	if !is {
		return nil, fmt.Errorf("it is a %T, and lines are signed by ed25519", found)
	}
	return key, nil
}
