package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/weft-mesh/weft/internal/gateway"
)

// operator is the name of the Deployment, its ServiceAccount and its roles.
const operator = "weft-operator"

type object = map[string]any

// clusterServiceVersion is the one in config/manifests/bases with all that follows from the other
// objects: versions, owned kinds, examples, rights and the Deployment.
func clusterServiceVersion(objects []*unstructured.Unstructured, version string, icon []byte) *unstructured.Unstructured {
	csv := ofKind(objects, "ClusterServiceVersion")[0].DeepCopy()
	csv.SetName("weft.v" + version)
	csv.SetNamespace("placeholder")
	csv.SetLabels(nil)
	spec := csv.Object["spec"].(object)
	spec["version"] = version
	spec["icon"] = []any{object{"base64data": base64.StdEncoding.EncodeToString(icon), "mediatype": "image/svg+xml"}}
	spec["customresourcedefinitions"] = object{"owned": owned(objects)}
	spec["install"] = object{"strategy": "deployment", "spec": install(objects)}
	deployment := ofKind(objects, "Deployment")[0]
	image := operatorImage(deployment)
	spec["relatedImages"] = []any{
		object{"name": "operator", "image": image},
		object{"name": "envoy", "image": gateway.DefaultImage},
	}
	annotations := csv.GetAnnotations()
	annotations["containerImage"] = image
	annotations["alm-examples"] = examples(objects)
	csv.SetAnnotations(annotations)
	return csv
}

func operatorImage(deployment *unstructured.Unstructured) string {
	containers, _, _ := unstructured.NestedSlice(deployment.Object, "spec", "template", "spec", "containers")
	return containers[0].(object)["image"].(string)
}

// install is what the Operator Lifecycle Manager makes: the Deployment and what it may do.
func install(objects []*unstructured.Unstructured) object {
	deployments, permissions, everywhere := []any{}, []any{}, []any{}
	for _, d := range ofKind(objects, "Deployment") {
		deployments = append(deployments, object{"name": d.GetName(), "label": labels(d), "spec": d.Object["spec"]})
	}
	for _, r := range ofKind(objects, "Role", "ClusterRole") {
		granted := object{"serviceAccountName": operator, "rules": r.Object["rules"]}
		switch {
		case r.GetName() != operator:
		case r.GetKind() == "Role":
			permissions = append(permissions, granted)
		default:
			everywhere = append(everywhere, granted)
		}
	}
	return object{"deployments": deployments, "permissions": permissions, "clusterPermissions": everywhere}
}

func labels(o *unstructured.Unstructured) object {
	out := object{}
	for k, v := range o.GetLabels() {
		out[k] = v
	}
	return out
}

// beside are, by kind of ours, what comes to be from an object of it, or what it is about: what a
// console shows beside it.
var beside = map[string][]any{
	"Mesh": {
		object{"kind": "Deployment", "name": "", "version": "v1"},
		object{"kind": "Service", "name": "", "version": "v1"},
	},
	"MeshPolicy": {
		object{"kind": "Pod", "name": "", "version": "v1"},
		object{"kind": "Service", "name": "", "version": "v1"},
	},
}

// owned lists every version of every CRD, described by the comment on its Go type.
func owned(objects []*unstructured.Unstructured) (all []any) {
	for _, crd := range ofKind(objects, "CustomResourceDefinition") {
		kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
		versions, _, _ := unstructured.NestedSlice(crd.Object, "spec", "versions")
		for _, v := range versions {
			version := v.(object)
			schema, _, _ := unstructured.NestedMap(version, "schema", "openAPIV3Schema")
			all = append(all, object{
				"kind": kind, "displayName": kind, "name": crd.GetName(), "version": version["name"],
				"description":       schema["description"],
				"resources":         beside[kind],
				"specDescriptors":   descriptors(schema, "spec"),
				"statusDescriptors": descriptors(schema, "status"),
			})
		}
	}
	return all
}

func descriptors(schema object, part string) (all []any) {
	fields, _, _ := unstructured.NestedMap(schema, "properties", part, "properties")
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		all = append(all, object{
			"path": name, "displayName": name, "description": fields[name].(object)["description"],
		})
	}
	return all
}

// examples are the samples of our own kinds.
func examples(objects []*unstructured.Unstructured) string {
	var kinds []string
	for _, crd := range ofKind(objects, "CustomResourceDefinition") {
		kind, _, _ := unstructured.NestedString(crd.Object, "spec", "names", "kind")
		kinds = append(kinds, kind)
	}
	samples := []object{}
	for _, o := range ofKind(objects, kinds...) {
		samples = append(samples, o.Object)
	}
	text, err := json.MarshalIndent(samples, "", "  ")
	if err != nil {
		panic(fmt.Sprintf("samples come from YAML: %v", err))
	}
	return string(text)
}
