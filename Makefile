# Everything a person runs. `make` alone lists the targets.
# With KUBECONFIG set, demo, test and bench use that cluster and start none.

VERSION    ?= v0.1.0
IMAGE      ?= ghcr.io/weft-mesh/weft:$(VERSION)
WEFT_CACHE ?= $(HOME)/.cache/weft
GO         ?= go
NICE       ?= nice

CONTROLLER_GEN_VERSION = v0.21.0
KUSTOMIZE_VERSION      = v5.8.1
STATICCHECK_VERSION    = v0.8.2

TOOLS          = $(WEFT_CACHE)/bin
CONTROLLER_GEN = $(TOOLS)/controller-gen-$(CONTROLLER_GEN_VERSION)
KUSTOMIZE      = $(TOOLS)/kustomize-$(KUSTOMIZE_VERSION)
STATICCHECK    = $(TOOLS)/staticcheck-$(STATICCHECK_VERSION)
CLUSTER        = cd e2e/cluster && $(GO) run .

.DEFAULT_GOAL := help
.PHONY: help
help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# See it, prove it

.PHONY: demo test test-unit test-e2e test-long bench lint
demo: image ## Start a cluster, install Weft, deploy a shop and send requests through a Gateway.
	@$(GO) run ./e2e/demo

test: generate-check lint image ## Everything that must hold before a change is merged.
	@hack/test.sh

test-unit: ## The tests that need no cluster.
	@hack/test.sh unit

test-e2e: image ## Stories and Gateway API conformance on a real cluster.
	@hack/test.sh e2e

test-long: generate-check lint image ## All of it at full length, for hours; resumes; writes docs/reports/.
	@hack/test.sh long

bench: image ## Measure, and print each figure beside what it is compared with.
	@$(GO) run -C bench .

lint: $(STATICCHECK) ## go vet and staticcheck.
	$(NICE) $(GO) vet ./...
	$(NICE) $(STATICCHECK) ./...

# Generated files

.PHONY: generate generate-check bundle
generate: $(CONTROLLER_GEN) $(KUSTOMIZE) ## Write deepcopy code, CRDs, RBAC, dist/ and bundle/.
	@CONTROLLER_GEN=$(CONTROLLER_GEN) KUSTOMIZE=$(KUSTOMIZE) VERSION=$(VERSION) GO=$(GO) hack/generate.sh .

generate-check: $(CONTROLLER_GEN) $(KUSTOMIZE) ## Fail when a generated file is stale.
	@CONTROLLER_GEN=$(CONTROLLER_GEN) KUSTOMIZE=$(KUSTOMIZE) VERSION=$(VERSION) GO=$(GO) hack/generate-check.sh

bundle: generate ## Write bundle/ for the Operator Lifecycle Manager and validate it.
	$(GO) test ./hack/bundle

# The binary, its image, a cluster

.PHONY: build image install uninstall cluster-up cluster-down
build: ## Build bin/weft, a static binary.
	@mkdir -p bin
	CGO_ENABLED=0 $(NICE) $(GO) build -trimpath -ldflags '-s -w -X main.version=$(VERSION)' -o bin/weft .

image: build ## Write bin/weft-image.tar, a docker-archive of IMAGE, without Docker.
	@$(CLUSTER) image --name $(IMAGE) --binary $(CURDIR)/bin/weft -o $(CURDIR)/bin/weft-image.tar

install: ## Install Weft in the cluster of the current kubeconfig.
	kubectl apply --server-side -f dist/install.yaml

uninstall: ## Remove Weft, its kinds and everything made from them.
	kubectl delete --ignore-not-found -f dist/install.yaml

cluster-up: ## Start a real Kubernetes cluster on this machine.
	$(CLUSTER) up

cluster-down: ## Stop it and leave nothing behind.
	$(CLUSTER) down

# Pinned tools, built once into WEFT_CACHE

$(CONTROLLER_GEN):
	$(call install-tool,sigs.k8s.io/controller-tools/cmd/controller-gen@$(CONTROLLER_GEN_VERSION),controller-gen,$@)

$(KUSTOMIZE):
	$(call install-tool,sigs.k8s.io/kustomize/kustomize/v5@$(KUSTOMIZE_VERSION),kustomize,$@)

$(STATICCHECK):
	$(call install-tool,honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK_VERSION),staticcheck,$@)

# install-tool builds $(1) and keeps its program $(2) under the versioned name $(3).
define install-tool
	@mkdir -p $(TOOLS) && tmp=$$(mktemp -d) && GOBIN=$$tmp $(NICE) $(GO) install $(1) && mv $$tmp/$(2) $(3) && rmdir $$tmp
endef
