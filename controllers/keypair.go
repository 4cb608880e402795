package controllers

import (
	"context"
	"crypto/tls"
	"fmt"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// KeyPair is a server's certificate in a Secret of type kubernetes.io/tls, read from the cache at
// each handshake: it may come after the server starts, and it rotates without a restart.
type KeyPair struct {
	Secrets client.Reader
	Name    types.NamespacedName

	mu      sync.Mutex
	version string // resourceVersion of what is parsed
	parsed  *tls.Certificate
}

// secretTimeout bounds a read of the cache, which waits while the cache is not filled.
const secretTimeout = 5 * time.Second

// GetCertificate is for tls.Config.
func (k *KeyPair) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	ctx, cancel := context.WithTimeout(hello.Context(), secretTimeout)
	defer cancel()
	var secret corev1.Secret
	if err := k.Secrets.Get(ctx, k.Name, &secret); err != nil {
		return nil, fmt.Errorf("read serving certificate: %w", err)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if version := string(secret.UID) + secret.ResourceVersion; k.parsed == nil || k.version != version {
		parsed, err := tls.X509KeyPair(secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey])
		if err != nil {
			return nil, fmt.Errorf("parse serving certificate in Secret %s: %w", k.Name, err)
		}
		k.version, k.parsed = version, &parsed
	}
	return k.parsed, nil
}
