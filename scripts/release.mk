# The targets that make what is published, included by the Makefile. Everything goes to dist/.

# The time of the commit is the time of everything in a release, so that two builds of it are equal.
export SOURCE_DATE_EPOCH ?= $(shell git log -1 --format=%ct 2>/dev/null || echo 0)

.PHONY: image
image: cross ## the image for all architectures, an OCI archive in dist/
	@VERSION='$(VERSION)' COMMIT='$(COMMIT)' scripts/image

.PHONY: airgap
airgap: cross ## per architecture the archive that K3s imports, and the manifest with the same tag, in dist/
	@VERSION='$(VERSION)' COMMIT='$(COMMIT)' scripts/airgap

.PHONY: manifest
manifest: ## the K3s manifest with this version's tag, at dist/edge-eventer.yaml
	@mkdir -p dist
	@scripts/manifest '$(VERSION:v%=%)' >dist/edge-eventer.yaml
	@echo dist/edge-eventer.yaml

.PHONY: deb
deb: cross ## Debian packages for amd64, arm64 and armhf, in dist/
	@VERSION='$(VERSION)' scripts/deb

.PHONY: release
release: ## make release VERSION=1.2.3: everything that is published, with SHA256SUMS and an SPDX list, in dist/
	@VERSION='$(VERSION)' COMMIT='$(COMMIT)' scripts/release
