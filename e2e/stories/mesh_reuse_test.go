package stories

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/weft-mesh/weft/e2e/call"
	"github.com/weft-mesh/weft/e2e/stage"
)

// TestAReusedAddressIsNotTheOldIdentity gives the address of a pod that has gone to a pod of another
// account. While the caller's sidecar cannot be told, as the operator is away, nobody answers in the
// old one's place, neither by its Service nor by its address. Once it is told, the address is the new
// one's, and the old one's Service is nobody's.
func TestAReusedAddressIsNotTheOldIdentity(t *testing.T) {
	c := newConversation(t, "reuse")
	c.OnThisMachine()
	outside := c.Outside("outside")
	operator := &churn{Scene: c.Scene, t: t}

	old := c.tenant(c.Scene, "old", "")
	c.lives(old)
	operator.operators(0)
	c.leaves(old)
	stranger := c.tenant(outside, "stranger", old.Status.PodIP)
	answered(t, c.Scene, call.Request{Protocol: call.HTTP, Address: at(old.Status.PodIP, 8080)}) // to be refused it must be able to answer
	for _, address := range []string{"old:80", at(old.Status.PodIP, 8080)} {
		c.silent(call.Request{Protocol: call.HTTP, Address: address})
	}
	for _, address := range []string{"old:9000", at(old.Status.PodIP, 9000)} {
		c.silent(call.Request{Protocol: call.TCP, Address: address})
	}
	c.Step("a pod outside the mesh with the address of one that has gone has no call of those for the old one")
	operator.operators(1)
	c.heir(stranger, past(c.caller.Pod))
	c.leaves(stranger)

	old = c.tenant(c.Scene, "old", "")
	c.lives(old)
	c.leaves(old)
	c.heir(c.tenant(c.Scene, "heir", old.Status.PodIP), bySidecar)
	c.Step("a pod in the mesh with the address of one that has gone has no call of those for the old one")
}

// lives wants a pod to be reached by its Service and by its address.
func (c *conversation) lives(pod corev1.Pod) {
	c.t.Helper()
	for _, w := range waysOf(call.HTTP, call.TCP) {
		c.says(w, at(pod.Name, w.service), pod.Name, bySidecar)
		c.says(w, at(pod.Status.PodIP, w.pod), pod.Name, bySidecar)
	}
}

// heir wants a pod to be reached by the address that was another's, and by no Service of that one.
func (c *conversation) heir(pod corev1.Pod, came func(call.Outcome) error) {
	c.t.Helper()
	for _, w := range waysOf(call.HTTP, call.TCP) {
		c.says(w, at(pod.Status.PodIP, w.pod), pod.Name, came)
		c.silent(call.Request{Protocol: w.protocol, Address: at("old", w.service)})
	}
}

// silent wants no application to answer.
func (c *conversation) silent(r call.Request) {
	c.t.Helper()
	r.Text, r.Within = word("for-the-old-one"), 5*time.Second
	if out := c.caller.Call(r); out.Answer.Pod != "" {
		c.t.Errorf("%s %s, whose pod has gone, is answered by %s", r.Protocol, r.Address, out.Answer.Pod)
	}
}

// tenant creates a pod and its Service. If an address is given, pods are made until one has it.
func (c *conversation) tenant(s *stage.Scene, name, address string) (pod corev1.Pod) {
	c.t.Helper()
	for range 10 {
		if address != "" {
			c.offerNext(address)
		}
		s.Apply(manifest(c.t, "mesh/tenant.yaml", "$NAME", name))
		c.Until(2*time.Minute, name+" is ready", func(ctx context.Context) error {
			if err := podReady(ctx, s, name); err != nil {
				return err
			}
			return s.Get(ctx, s.Key(name), &pod)
		})
		if address == "" || pod.Status.PodIP == address {
			return pod
		}
		c.leaves(pod)
	}
	c.t.Fatalf("no pod %s was given the address %s", name, address)
	return pod
}

// offerNext has the node give an address to the next pod that asks, if it is free.
func (c *conversation) offerNext(address string) {
	c.t.Helper()
	last := filepath.Join(filepath.Dir(c.Kubeconfig), "cni-addresses", "weft", "last_reserved_ip.0")
	if err := os.WriteFile(last, []byte(netip.MustParseAddr(address).Prev().String()), 0o600); err != nil {
		c.t.Fatal(err)
	}
}

// leaves deletes a pod and waits until it has gone.
func (c *conversation) leaves(pod corev1.Pod) {
	c.t.Helper()
	if err := c.Delete(c.t.Context(), &pod); err != nil {
		c.t.Fatal(err)
	}
	c.Until(time.Minute, pod.Name+" has gone", func(ctx context.Context) error {
		err := c.Get(ctx, client.ObjectKeyFromObject(&pod), &corev1.Pod{})
		return gone(err)
	})
}

// gone is nil for the error that there is no such object.
func gone(err error) error {
	switch {
	case err == nil:
		return errors.New("it is there")
	case apierrors.IsNotFound(err):
		return nil
	}
	return err
}
