# edge-eventer: `make` lists the targets. Everything that is downloaded or built besides Go's own caches lies in bin/ and in
# the user's cache directory, and is used again.

SHELL := /bin/bash
.DEFAULT_GOAL := help

VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
COMMIT  ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
# What the builder's environment says of instruction sets and experiments is not what is published.
PINNED  := CGO_ENABLED=0 GOAMD64=v1 GOARM64=v8.0 GOARM=7 GOEXPERIMENT= GOFIPS140=off
GOBUILD := $(PINNED) go build -trimpath -buildvcs=false -ldflags '$(LDFLAGS)'
MODULE  := github.com/edge-eventer/edge-eventer

export GOFLAGS :=

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: build
build: tools-go ## the agent for this machine, at bin/edge-eventer
	@$(GOBUILD) -o bin/edge-eventer ./cmd/edge-eventer

.PHONY: run
run: build ## the agent on your cluster (KUBECONFIG, K3s) or on a real control plane that fails on purpose
	@scripts/run

.PHONY: demo
demo: build ## make run, with a page on 127.0.0.1:8090 that shows the alerts as chats would, and buttons for faults
	@scripts/run --demo

.PHONY: test
test: ## everything that CI runs
	@scripts/test

.PHONY: check
check: tools-go ## format, vet, lint and unit tests of the packages that you changed: before each commit
	@scripts/check

.PHONY: cross
cross: tools-go ## the agent for linux/amd64, linux/arm64 and linux/arm/v7, at bin/edge-eventer-ARCH
	@GOOS=linux GOARCH=amd64 $(GOBUILD) -o bin/edge-eventer-amd64 ./cmd/edge-eventer
	@GOOS=linux GOARCH=arm64 $(GOBUILD) -o bin/edge-eventer-arm64 ./cmd/edge-eventer
	@GOOS=linux GOARCH=arm $(GOBUILD) -o bin/edge-eventer-armv7 ./cmd/edge-eventer
	@ls -l bin/edge-eventer-* | awk '{printf "%-30s %5.1f MB\n", $$9, $$5/1e6}'

.PHONY: lint
lint: tools-go ## golangci-lint with the project's rules
	@scripts/lint

include scripts/release.mk

.PHONY: clean
clean: ## remove bin/ and dist/
	@rm -rf bin dist

.PHONY: tools-go
tools-go:
	@command -v go >/dev/null || { echo "Go is missing: install Go 1.26 or newer from your distribution or go.dev" >&2; exit 1; }
