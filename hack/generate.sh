#!/bin/sh
# Writes every generated file under the repository root given as $1.
# Needs CONTROLLER_GEN, KUSTOMIZE, VERSION and GO, which `make generate` sets.
set -eu
cd "$1"

# controller-gen passes over RBAC markers in the comment of a type without a word.
find . -name '*.go' -exec awk '
	marker && !/^\/\/ \+kubebuilder/ && !/^$/ { print FILENAME ":" FNR ": leave a blank line after RBAC markers"; bad = 1 }
	{ marker = /^\/\/ \+kubebuilder:rbac/ }
	END { exit bad }' {} +

"$CONTROLLER_GEN" object paths=./api/...
rm -rf config/crd/bases config/smi/bases
"$CONTROLLER_GEN" crd paths=./api/v1alpha1 output:crd:dir=config/crd/bases
"$CONTROLLER_GEN" crd paths=./api/smi/... output:crd:dir=config/smi/bases
"$CONTROLLER_GEN" rbac:roleName=weft-operator,fileName=role.yaml paths=./... output:rbac:dir=config/rbac
mkdir -p dist
"$KUSTOMIZE" build config/default >dist/install.yaml
"$KUSTOMIZE" build config/revision >dist/revision.yaml
"$KUSTOMIZE" build config/smi >dist/smi.yaml
"$KUSTOMIZE" build config/authz >dist/authz.yaml
"$KUSTOMIZE" build config/smi/metrics >dist/smi-metrics.yaml
"$GO" run ./hack/bundle -kustomize "$KUSTOMIZE" -version "$VERSION"
