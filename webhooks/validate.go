// Package webhooks holds Weft's admission webhooks.
package webhooks

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/http"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/validation/field"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"
	"sigs.k8s.io/controller-runtime/pkg/webhook/conversion"
	gwv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/mesh"
)

// Name is that of the webhook's Service, of its Certificate and of its configuration.
const Name = "weft-webhook"

// ConversionName is that of the Service by which the API server has objects converted.
const ConversionName = "weft-conversion"

// Where the API server asks about Gateways, and for TrafficSplits in other versions than they are stored in:
// config/smi/conversion.yaml.
const (
	gatewayPath    = "/validate/gateway"
	conversionPath = "/convert"
)

// maxConversion bounds what is read of a request to convert, which may hold a list of tens of thousands of
// objects.
const maxConversion = 64 << 20

// Validator refuses Gateways whose annotation mesh.weft.dev/issuer names no issuer: Weft cannot
// put a rule on the Gateway API's own CRDs. Whether the issuer exists is not asked: objects
// are applied in any order.
type Validator struct{}

var _ admission.Validator[*gwv1.Gateway] = Validator{}

// Setup serves the webhooks of every replica on port. The certificate is asked for at each
// handshake: it may come later than the server.
func Setup(mgr ctrl.Manager, port int, certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error), injector Injector) error {
	server := webhook.NewServer(webhook.Options{Port: port, TLSOpts: []func(*tls.Config){func(c *tls.Config) {
		c.MinVersion, c.GetCertificate = tls.VersionTLS13, certificate
	}}})
	server.Register(podPath, &admission.Webhook{Handler: injector})
	server.Register(conversionPath, http.MaxBytesHandler(conversion.NewWebhookHandler(mgr.GetScheme(), conversion.NewRegistry()), maxConversion))
	server.Register(gatewayPath, admission.WithValidator(mgr.GetScheme(), Validator{}))
	if err := mgr.Add(server); err != nil {
		return fmt.Errorf("serve webhooks: %w", err)
	}
	return nil
}

// ValidateCreate looks at a new Gateway.
func (Validator) ValidateCreate(_ context.Context, gw *gwv1.Gateway) (admission.Warnings, error) {
	return nil, validate(gw)
}

// ValidateUpdate looks at a Gateway whose annotation changed; one that was accepted earlier does
// not stand in the way of other edits.
func (Validator) ValidateUpdate(_ context.Context, before, gw *gwv1.Gateway) (admission.Warnings, error) {
	was, annotated := before.Annotations[mesh.IssuerAnnotation]
	if annotated && was == gw.Annotations[mesh.IssuerAnnotation] {
		return nil, nil
	}
	return nil, validate(gw)
}

// ValidateDelete refuses nothing.
func (Validator) ValidateDelete(context.Context, *gwv1.Gateway) (admission.Warnings, error) {
	return nil, nil
}

func validate(gw *gwv1.Gateway) error {
	value, annotated := gw.Annotations[mesh.IssuerAnnotation]
	if !annotated {
		return nil
	}
	_, err := mesh.ParseIssuer(value)
	if err == nil {
		return nil
	}
	at := field.NewPath("metadata", "annotations").Key(mesh.IssuerAnnotation)
	kind := schema.GroupKind{Group: gwv1.GroupName, Kind: "Gateway"}
	return apierrors.NewInvalid(kind, gw.Namespace+"/"+gw.Name, field.ErrorList{field.Invalid(at, field.OmitValueType{}, err.Error())})
}

// Configuration asks the API server to call the webhook that the operator in namespace serves,
// for annotated Gateways only. While nothing answers, Gateways are let through: their status
// tells of a bad annotation too. cert-manager's cainjector fills in the authority.
func Configuration(namespace string) *admissionv1.ValidatingWebhookConfiguration {
	return &admissionv1.ValidatingWebhookConfiguration{
		TypeMeta: metav1.TypeMeta{APIVersion: admissionv1.SchemeGroupVersion.String(), Kind: "ValidatingWebhookConfiguration"},
		ObjectMeta: metav1.ObjectMeta{
			Name:        Name,
			Annotations: map[string]string{"cert-manager.io/inject-ca-from": namespace + "/" + Name},
		},
		Webhooks: []admissionv1.ValidatingWebhook{{
			Name: "gateways.mesh.weft.dev",
			ClientConfig: admissionv1.WebhookClientConfig{
				Service: &admissionv1.ServiceReference{Namespace: namespace, Name: Name, Path: new(gatewayPath), Port: new(int32(443))},
			},
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{admissionv1.Create, admissionv1.Update},
				Rule: admissionv1.Rule{
					APIGroups: []string{gwv1.GroupName}, APIVersions: []string{"v1"}, Resources: []string{"gateways"},
					Scope: new(admissionv1.NamespacedScope),
				},
			}},
			MatchConditions: []admissionv1.MatchCondition{{
				Name:       "annotated",
				Expression: fmt.Sprintf("has(object.metadata.annotations) && %q in object.metadata.annotations", mesh.IssuerAnnotation),
			}},
			MatchPolicy:             new(admissionv1.Equivalent),
			FailurePolicy:           new(admissionv1.Ignore),
			SideEffects:             new(admissionv1.SideEffectClassNone),
			TimeoutSeconds:          new(int32(5)),
			AdmissionReviewVersions: []string{"v1"},
		}},
	}
}
