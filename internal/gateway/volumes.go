package gateway

import (
	"fmt"
	"path"
	"strings"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TokenAudience is who a proxy's token is meant for: the xDS server.
const TokenAudience = "weft"

// TokenLifetime is in seconds; the kubelet renews the token at 80 % of it.
const TokenLifetime int64 = 3600

// RootsKey is the key of the ConfigMap under which the roots are.
const RootsKey = "ca.crt"

// configMap holds the files that a proxy reads: the roots, which the operator keeps up to date,
// and the SDS files that make Envoy watch the roots and the token.
func configMap(in Input) *corev1.ConfigMap {
	data := map[string]string{RootsKey: string(in.Roots)}
	for _, f := range in.Envoy.Files {
		data[fileKey(f)] = f.Content
	}
	return &corev1.ConfigMap{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: meta(in.Gateway),
		Data:       data,
	}
}

func fileKey(f File) string { return strings.ReplaceAll(strings.TrimPrefix(f.Path, "/"), "/", "-") }

// volumes mount each file into a directory of its own: Envoy watches the whole directory of an
// SDS file.
func volumes(in Input) []corev1.Volume {
	name := Name(in.Gateway)
	all := []corev1.Volume{
		tokenVolume(in.Envoy.TokenPath),
		fileVolume("roots", name, RootsKey, path.Base(in.Envoy.RootsPath)),
	}
	for i, f := range in.Envoy.Files {
		all = append(all, fileVolume(sdsVolume(i), name, fileKey(f), path.Base(f.Path)))
	}
	return all
}

func sdsVolume(i int) string { return fmt.Sprintf("sds-%d", i) }

func tokenVolume(at string) corev1.Volume {
	return corev1.Volume{Name: "token", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{
		Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{
			Audience: TokenAudience, ExpirationSeconds: new(TokenLifetime), Path: path.Base(at),
		}}},
	}}}
}

func fileVolume(name, configMap, key, file string) corev1.Volume {
	return corev1.Volume{Name: name, VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{
		LocalObjectReference: corev1.LocalObjectReference{Name: configMap},
		Items:                []corev1.KeyToPath{{Key: key, Path: file}},
	}}}
}

func mounts(e Envoy) []corev1.VolumeMount {
	all := []corev1.VolumeMount{mount("token", e.TokenPath), mount("roots", e.RootsPath)}
	for i, f := range e.Files {
		all = append(all, mount(sdsVolume(i), f.Path))
	}
	return all
}

func mount(volume, file string) corev1.VolumeMount {
	return corev1.VolumeMount{Name: volume, MountPath: path.Dir(file), ReadOnly: true}
}
