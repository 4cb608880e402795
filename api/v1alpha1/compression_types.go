package v1alpha1

// Compression has Gateways compress answers for clients that accept it, by their Accept-Encoding. It is about
// what leaves the mesh: between pods nothing is compressed, as the caller's own sidecar would do it, where no
// network is left to be spared.
//
// An answer is compressed if its type is one of contentTypes, its length is known to be minContentLength or
// more, or is not known before its end, and it is neither compressed already (Content-Encoding), nor partial
// (206, Content-Range), nor of a Cache-Control with no-transform. Calls of gRPC never are. Clients are told by
// Vary: Accept-Encoding of whatever could have been compressed.
//
// Whoever sees the lengths of answers over TLS, and has some of their content chosen by what it has a client
// ask for, can guess what else is in them (BREACH). Name the routes for which that is borne.
//
// +kubebuilder:validation:XValidation:rule="!has(self.disabled) || !self.disabled || !has(self.algorithms) && !has(self.contentTypes) && !has(self.minContentLength) && !has(self.disableOnETagHeader)",message="disabled has nothing compressed: leave the other fields out",fieldPath=".disabled"
type Compression struct {
	// disabled has nothing compressed: an outer policy's compression is so switched off.
	//
	// +optional
	Disabled bool `json:"disabled,omitempty"`

	// algorithms are those that are offered; Brotli, Zstd and Gzip in this order when unset. The client chooses
	// by the weights (q) of its Accept-Encoding. Of those that it likes as much as any, the first of this list
	// is taken or, where the client does not name that, the one that it names first.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=3
	Algorithms []CompressionAlgorithm `json:"algorithms,omitempty"`

	// contentTypes are the types of answers that are compressed, without parameters such as charset. When unset:
	// text/html, text/plain, text/css, text/xml, application/xml, application/xhtml+xml, application/json,
	// image/svg+xml, application/javascript and what else JavaScript is called.
	//
	// Calls of gRPC (application/grpc) are compressed by those who make them, if at all.
	//
	// +optional
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	ContentTypes []ContentType `json:"contentTypes,omitempty"`

	// minContentLength is how many bytes an answer has at least. What is shorter gets hardly any shorter. An
	// answer that does not tell its length before, as what an app writes piece by piece, is compressed whatever
	// it comes to. 1024 when unset.
	//
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1048576
	MinContentLength *int32 `json:"minContentLength,omitempty"`

	// disableOnETagHeader leaves answers with an ETag as they are. Otherwise their ETag becomes a weak one
	// (W/), for it names other bytes than those that are sent: good for caches (If-None-Match), but an app that
	// wants it back in If-Match will not know it.
	//
	// +optional
	DisableOnETagHeader bool `json:"disableOnETagHeader,omitempty"`
}

// CompressionAlgorithm is one of those that clients know.
//
// +kubebuilder:validation:Enum=Brotli;Gzip;Zstd
type CompressionAlgorithm string

// The values of compression.algorithms.
const (
	Brotli CompressionAlgorithm = "Brotli"
	Gzip   CompressionAlgorithm = "Gzip"
	Zstd   CompressionAlgorithm = "Zstd"
)

// ContentType is a type of content without parameters, such as application/json.
//
// +kubebuilder:validation:MinLength=3
// +kubebuilder:validation:MaxLength=127
// +kubebuilder:validation:Pattern=`^[a-z0-9][a-z0-9!#$&^_.+-]*/[a-z0-9][a-z0-9!#$&^_.+-]*$`
// +kubebuilder:validation:XValidation:rule="!self.startsWith('application/grpc')",message="calls of gRPC are compressed by those who make them: leave it out"
type ContentType string
