package trafficmetrics

import (
	"context"
	"net/http"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apiserver/pkg/authentication/authenticator"
	"k8s.io/apiserver/pkg/authentication/authenticatorfactory"
	"k8s.io/apiserver/pkg/authentication/request/headerrequest"
	"k8s.io/apiserver/pkg/authorization/authorizer"
	"k8s.io/apiserver/pkg/authorization/authorizerfactory"
	"k8s.io/apiserver/pkg/server/dynamiccertificates"
	"k8s.io/client-go/kubernetes"
	authorization "k8s.io/client-go/kubernetes/typed/authorization/v1"
	core "k8s.io/client-go/kubernetes/typed/core/v1"
)

// Where the API server says by which certificate, and in which headers, it tells who asks.
const (
	frontProxyNamespace = "kube-system"
	frontProxyConfigMap = "extension-apiserver-authentication"
)

// frontProxy believes the API server, and nobody else, who asks. It follows the ConfigMap, and believes
// nobody until it has read it.
type frontProxy struct {
	authority *dynamiccertificates.ConfigMapCAController
	headers   *headerrequest.RequestHeaderAuthRequestController
	request   authenticator.Request
}

// coreOnly is what is used of a client of all groups, which would make the binary 8 MB larger.
type coreOnly struct {
	kubernetes.Interface
	core core.CoreV1Interface
}

// CoreV1 is the one group there is.
func (c coreOnly) CoreV1() core.CoreV1Interface { return c.core }

func newFrontProxy(configMaps core.CoreV1Interface) (*frontProxy, error) {
	client := coreOnly{core: configMaps}
	authority, err := dynamiccertificates.NewDynamicCAFromConfigMapController("front-proxy", frontProxyNamespace, frontProxyConfigMap, "requestheader-client-ca-file", client)
	if err != nil {
		return nil, err
	}
	f := &frontProxy{authority: authority, headers: headerrequest.NewRequestHeaderAuthRequestController(frontProxyConfigMap, frontProxyNamespace, client,
		"requestheader-username-headers", "requestheader-uid-headers", "requestheader-group-headers", "requestheader-extra-headers-prefix", "requestheader-allowed-names")}
	f.request, _, err = authenticatorfactory.DelegatingAuthenticatorConfig{
		RequestHeaderConfig: &authenticatorfactory.RequestHeaderConfig{
			CAContentProvider:   f.authority,
			AllowedClientNames:  headerrequest.StringSliceProviderFunc(f.headers.AllowedClientNames),
			UsernameHeaders:     headerrequest.StringSliceProviderFunc(f.headers.UsernameHeaders),
			UIDHeaders:          headerrequest.StringSliceProviderFunc(f.headers.UIDHeaders),
			GroupHeaders:        headerrequest.StringSliceProviderFunc(f.headers.GroupHeaders),
			ExtraHeaderPrefixes: headerrequest.StringSliceProviderFunc(f.headers.ExtraHeaderPrefixes),
		},
	}.New()
	return f, err
}

// follow returns at once.
func (f *frontProxy) follow(ctx context.Context) {
	go f.authority.Run(ctx, 1)
	go f.headers.Run(ctx, 1)
}

// AuthenticateRequest tells who asks.
func (f *frontProxy) AuthenticateRequest(r *http.Request) (*authenticator.Response, bool, error) {
	return f.request.AuthenticateRequest(r)
}

// How long an answer of the API server, who may what, is remembered: so long a right that was taken
// away is still of use here. The API server itself asks before it passes a request on.
const remembered = 10 * time.Second

func newAuthorizer(reviews authorization.AuthorizationV1Interface) (authorizer.Authorizer, error) {
	return authorizerfactory.DelegatingAuthorizerConfig{
		SubjectAccessReviewClient: reviews,
		AllowCacheTTL:             remembered,
		DenyCacheTTL:              remembered,
		WebhookRetryBackoff:       &wait.Backoff{Duration: 200 * time.Millisecond, Factor: 2, Jitter: 0.2, Steps: 3},
	}.New()
}
