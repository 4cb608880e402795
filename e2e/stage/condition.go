package stage

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/api/v1alpha1"
)

// Condition is one that an object must show. Message holds words that must occur in its message.
type Condition struct {
	Type    string
	Status  metav1.ConditionStatus
	Reason  string
	Message []string
}

// in says in which way the condition is missing from those shown.
func (c Condition) in(shown []metav1.Condition) error {
	got := meta.FindStatusCondition(shown, c.Type)
	if got == nil {
		return fmt.Errorf("condition %s is missing; conditions: %s", c.Type, list(shown))
	}
	if got.Status != c.Status || (c.Reason != "" && got.Reason != c.Reason) {
		return fmt.Errorf("want %s=%s (%s); conditions: %s", c.Type, c.Status, c.Reason, list(shown))
	}
	for _, word := range c.Message {
		if !strings.Contains(got.Message, word) {
			return fmt.Errorf("the message of %s does not speak of %q: %q", c.Type, word, got.Message)
		}
	}
	return nil
}

func list(conditions []metav1.Condition) string {
	if len(conditions) == 0 {
		return "none"
	}
	var all []string
	for _, c := range conditions {
		all = append(all, fmt.Sprintf("%s=%s (%s: %s)", c.Type, c.Status, c.Reason, c.Message))
	}
	return strings.Join(all, "; ")
}

// slow is the longest that a condition may take on a busy machine.
const slow = time.Minute

// RouteShows waits until an HTTPRoute shows each condition for its first parent.
func (s *Scene) RouteShows(name string, wanted ...Condition) {
	s.t.Helper()
	s.Until(slow, "HTTPRoute "+name, func(ctx context.Context) error {
		var route gwv1.HTTPRoute
		if err := s.Get(ctx, s.Key(name), &route); err != nil {
			return err
		}
		if len(route.Status.Parents) == 0 {
			return errors.New("status.parents is empty")
		}
		return showsAll(wanted, route.Status.Parents[0].Conditions)
	})
}

// GatewayShows waits until a Gateway shows each condition.
func (s *Scene) GatewayShows(name string, wanted ...Condition) {
	s.t.Helper()
	s.Until(slow, "Gateway "+name, func(ctx context.Context) error {
		var gateway gwv1.Gateway
		if err := s.Get(ctx, s.Key(name), &gateway); err != nil {
			return err
		}
		return showsAll(wanted, gateway.Status.Conditions)
	})
}

// ListenerShows waits until a Gateway's listener shows each condition.
func (s *Scene) ListenerShows(name string, listener gwv1.SectionName, wanted ...Condition) {
	s.t.Helper()
	s.Until(slow, fmt.Sprintf("Gateway %s, listener %s", name, listener), func(ctx context.Context) error {
		var gateway gwv1.Gateway
		if err := s.Get(ctx, s.Key(name), &gateway); err != nil {
			return err
		}
		at := slices.IndexFunc(gateway.Status.Listeners, func(l gwv1.ListenerStatus) bool { return l.Name == listener })
		if at < 0 {
			return errors.New("status.listeners does not name it")
		}
		return showsAll(wanted, gateway.Status.Listeners[at].Conditions)
	})
}

func showsAll(wanted []Condition, shown []metav1.Condition) error {
	for _, c := range wanted {
		if err := c.in(shown); err != nil {
			return err
		}
	}
	return nil
}

// PolicySays waits until a MeshPolicy says of being ready, for a reason, something that has some words in it.
func (s *Scene) PolicySays(policy, reason, words string) {
	s.t.Helper()
	s.policyTells(policy, v1alpha1.ConditionReady, reason, words)
}

// Overridden waits until a MeshPolicy says that another one holds in its place.
func (s *Scene) Overridden(policy, by string) {
	s.t.Helper()
	s.policyTells(policy, v1alpha1.ConditionOverridden, "Overridden", "MeshPolicy "+by+" ")
}

func (s *Scene) policyTells(policy, condition, reason, words string) {
	s.t.Helper()
	s.Until(slow, "MeshPolicy "+policy+" says "+reason, func(ctx context.Context) error {
		var p v1alpha1.MeshPolicy
		if err := s.Get(ctx, s.Key(policy), &p); err != nil {
			return err
		}
		c := meta.FindStatusCondition(p.Status.Conditions, condition)
		if c == nil || c.Reason != reason || !strings.Contains(c.Message, words) {
			return fmt.Errorf("it says %+v", c)
		}
		return nil
	})
}

// Holds waits until a MeshPolicy says that it holds as it is written now.
func (s *Scene) Holds(policy string) {
	s.t.Helper()
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("MeshPolicy"))
	s.Until(slow, "MeshPolicy "+policy+" holds", func(ctx context.Context) error {
		if err := s.Get(ctx, s.Key(policy), object); err != nil {
			return err
		}
		entries, _, err := unstructured.NestedSlice(object.Object, "status", "conditions")
		if err != nil {
			return err
		}
		for _, entry := range entries {
			c, ok := entry.(map[string]any)
			if ok && c["type"] == v1alpha1.ConditionReady && c["status"] == string(metav1.ConditionTrue) && c["observedGeneration"] == object.GetGeneration() {
				return nil
			}
		}
		return fmt.Errorf("conditions: %v", entries)
	})
}
