#!/bin/sh
# Writes every generated file under the repository root given as $1.
# Needs CONTROLLER_GEN, KUSTOMIZE, IMAGE, VERSION and GO, which `make generate` sets.
set -eu
cd "$1"
"$CONTROLLER_GEN" object paths=./api/...
rm -rf config/crd/bases
"$CONTROLLER_GEN" crd paths=./api/... output:crd:dir=config/crd/bases
"$CONTROLLER_GEN" rbac:roleName=weft-operator,fileName=role.yaml paths=./controllers/... paths=./webhooks/... paths=./internal/xds/... output:rbac:dir=config/rbac
mkdir -p dist
"$KUSTOMIZE" build config/default >dist/install.yaml
"$GO" run ./hack/bundle -kustomize "$KUSTOMIZE" -version "$VERSION"
