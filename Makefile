# make demo and make test need nothing but Go and Debian with root or sudo; they install and build the rest.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build

PROGRAM := bin/sa-exec-credential
BUILD := github.com/sa-exec-credential/sa-exec-credential/internal/build
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
COMMIT := $(shell git rev-parse HEAD 2>/dev/null)
DATE := $(shell TZ=UTC0 git log -1 --format=%cd --date=format-local:%Y-%m-%dT%H:%M:%SZ 2>/dev/null)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GORELEASER ?= go run github.com/goreleaser/goreleaser/v2@v2.15.1
# GoReleaser wants to know where a clone is from; not every one says so.
ORIGIN := GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=remote.origin.url GIT_CONFIG_VALUE_0=https://github.com/sa-exec-credential/sa-exec-credential
ACTIONLINT := github.com/rhysd/actionlint/cmd/actionlint@v1.7.12
KREW := sigs.k8s.io/krew/cmd/krew@v0.4.3
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
FUZZTIME ?= 60s
SOAKTIME ?= 5m
PLATFORMS ?= all
comma := ,
# Those that .goreleaser.yaml has beside the one that tests run on.
OTHERS := linux/arm64 linux/arm linux/ppc64le linux/s390x linux/riscv64 windows/amd64 windows/arm64 darwin/amd64 darwin/arm64 freebsd/amd64

# The same flags for everything, so that what one module has compiled another one finds. Without DWARF, which is
# not in the programs anyway, the compiler needs a quarter less time. make lint vets: before each kind of build of
# a test, go vet would look at every package that it imports.
BUILD_FLAGS := -trimpath -gcflags=all=-dwarf=false

.PHONY: help build install demo test command unit race e2e interrupt compat clients cross windows packaging dist release dist-test reproducible brief-fuzz fuzz brief-soak soak bench bench-policy pictures lint vuln cluster plane deps clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 12

build: ## Build the plugin into bin/
	@echo "make: building $(PROGRAM)" >&2
	CGO_ENABLED=0 go build $(BUILD_FLAGS) -ldflags "-s -w -X $(BUILD).version=$(VERSION) -X $(BUILD).commit=$(COMMIT) -X $(BUILD).date=$(DATE)" -o bin/ ./cmd/...

install: build ## Install the plugin into /usr/local/bin (or PREFIX/bin)
	install -D -m 0755 -t $(DESTDIR)$(or $(PREFIX),/usr/local)/bin $(PROGRAM) $(PROGRAM)-get

demo: deps plane build ## Run the main job on a control plane of its own, from setup to a kubectl call
	@scripts/demo

test: deps plane build command race brief-fuzz e2e brief-soak cross ## Run every test

# What race tests as well is not tested twice.
command:
	@echo "make: testing the command line" >&2
	CGO_ENABLED=0 go test $(BUILD_FLAGS) -vet=off -timeout 15m $$(go list ./... | grep -v /internal/)
	cd packaging && CGO_ENABLED=0 go test $(BUILD_FLAGS) -vet=off ./...

unit: ## Test the packages and the command line
	@echo "make: testing the packages" >&2
	CGO_ENABLED=0 go test $(BUILD_FLAGS) -vet=off -timeout 15m ./...

race: ## Test what runs in one process with the race detector
	@echo "make: testing the packages with the race detector (compiling it takes a while)" >&2
	go test -race $(BUILD_FLAGS) -vet=off -timeout 15m ./internal/...

# One control plane serves all packages but those that break theirs. -count=1: go test does not see
# that the program under test is another one, and would answer from its cache. -p 4: packages spend most of their
# time waiting.
e2e: ## Test on the real control plane, with the real kubectl and keyrings
	@echo "make: testing on the real control plane" >&2
	rm -rf test/bin/hints && mkdir -p test/bin/hints
	cd test && LAB_HINTS=$(CURDIR)/test/bin/hints CGO_ENABLED=0 SA_EXEC_CREDENTIAL=$(CURDIR)/$(PROGRAM) bin/cluster go test $(BUILD_FLAGS) -vet=off -p 4 -count=1 -timeout 20m ./...
	cd test && CGO_ENABLED=0 go run $(BUILD_FLAGS) ./cmd/hints bin/hints

interrupt: deps plane build ## Interrupt setup, rotate and revoke at every request and write, not only at some
	cd test && INTERRUPT=everywhere CGO_ENABLED=0 SA_EXEC_CREDENTIAL=$(CURDIR)/$(PROGRAM) bin/cluster go test $(BUILD_FLAGS) -vet=off -count=1 -p 1 -timeout 60m -run Interrupted\|Killed -v ./rotate ./setup

compat: deps plane build ## Run every job on old and new versions of Kubernetes, and print a table
	@SA_EXEC_CREDENTIAL=$(CURDIR)/$(PROGRAM) test/compat/run

clients: deps plane build ## Run the clients that people have, some of which it builds first, and print a table
	@SA_EXEC_CREDENTIAL=$(CURDIR)/$(PROGRAM) test/clients/run

cross: ## Check the types for the other platforms, which make dist builds for
	@echo "make: checking the types for $(OTHERS)" >&2
	cd packaging && CGO_ENABLED=0 go run $(BUILD_FLAGS) ./cross $(OTHERS)

packaging:
	@echo "make: building what packages are made with" >&2
	cd packaging && CGO_ENABLED=0 go build $(BUILD_FLAGS) -o ../bin/ ./sbom ./image ./nix-hash

# The time of everything in it is the commit's. On the commit of a tag, RELEASE=1 gives the very bytes of that
# release, but for what Apple has signed.
dist: packaging ## Make what a release is made of into dist/, and send nothing (PLATFORMS=host: for this one alone)
	@echo "make: making the packages: many minutes for all platforms" >&2
	$(ORIGIN) PATH=$(CURDIR)/bin:$$PATH PLATFORMS=$(PLATFORMS) SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(GORELEASER) release $(if $(RELEASE),,--snapshot) --clean --skip=publish,announce,sign,notarize$(if $(filter host,$(PLATFORMS)),$(comma)winget$(comma)scoop)
	bin/image
	@echo "make: archives, packages, SBOMs and SHA256SUMS are in dist/, the container image in dist/image, what package managers read in the folders there" >&2

release: packaging
	PATH=$(CURDIR)/bin:$$PATH SOURCE_DATE_EPOCH=$$(git log -1 --format=%ct) $(GORELEASER) release --clean
	bin/image

dist-test: deps plane build ## Install what make dist has made, and do the main job with it
	GOBIN=$(CURDIR)/test/bin CGO_ENABLED=0 go install $(BUILD_FLAGS) $(KREW)
	cd test && DIST=$(CURDIR)/dist CGO_ENABLED=0 SA_EXEC_CREDENTIAL=$(CURDIR)/$(PROGRAM) bin/cluster go test $(BUILD_FLAGS) -vet=off -count=1 -timeout 20m -v ./dist

reproducible: ## Make dist/ once more, elsewhere and with nothing in a cache, and compare
	@PLATFORMS=$(PLATFORMS) scripts/reproducible

windows: plane ## Run the main job with Windows builds under wine
	@scripts/windows

brief-fuzz:
	@echo "make: fuzzing every parser briefly" >&2
	@scripts/fuzz 500x

fuzz: ## Fuzz every parser of foreign input, each for FUZZTIME
	@scripts/fuzz $(FUZZTIME)

brief-soak:
	@echo "make: a short soak" >&2
	cd test && CGO_ENABLED=0 SA_EXEC_CREDENTIAL=$(CURDIR)/$(PROGRAM) SOAKTIME=20s go run $(BUILD_FLAGS) ./cmd/soak

soak: deps plane build ## Run a mix of workers and faults for SOAKTIME
	cd test && CGO_ENABLED=0 SA_EXEC_CREDENTIAL=$(CURDIR)/$(PROGRAM) SOAKTIME=$(SOAKTIME) go run $(BUILD_FLAGS) ./cmd/soak

bench: deps plane build ## Measure calls and what grows, print goals beside figures, and write docs/performance.md
	@echo "make: building what is compared" >&2
	CGO_ENABLED=0 go build $(BUILD_FLAGS) -ldflags "-s -w" -o bin/ ./internal/bench/...
	cd test && CGO_ENABLED=0 go build $(BUILD_FLAGS) -o bin/bench ./cmd/bench
	@test/bin/bench

bench-policy: plane ## Print what the admission policy costs a cluster, by the number of accounts
	cd test && CGO_ENABLED=0 go build $(BUILD_FLAGS) -o bin/benchpolicy ./cmd/benchpolicy
	@test/bin/benchpolicy

pictures: deps plane build ## Record the README's pictures anew, and draw them
	@scripts/pictures

# actionlint would run what a machine happens to have for the scripts in a workflow.
lint: ## gofmt, go vet, staticcheck, and actionlint for the workflows
	@echo "make: linting" >&2
	@unformatted=$$(git ls-files '*.go' | xargs gofmt -l); if [[ -n $$unformatted ]]; then echo "gofmt would change: $$unformatted" >&2; exit 1; fi
	CGO_ENABLED=0 go vet $(BUILD_FLAGS) ./...
	cd packaging && CGO_ENABLED=0 go vet $(BUILD_FLAGS) ./...
	cd test && CGO_ENABLED=0 go vet $(BUILD_FLAGS) ./...
	CGO_ENABLED=0 GOFLAGS="$(GOFLAGS) $(BUILD_FLAGS)" go run $(STATICCHECK) ./...
	cd packaging && CGO_ENABLED=0 GOFLAGS="$(GOFLAGS) $(BUILD_FLAGS)" go run $(STATICCHECK) ./...
	cd test && CGO_ENABLED=0 GOFLAGS="$(GOFLAGS) $(BUILD_FLAGS)" go run $(STATICCHECK) ./...
	CGO_ENABLED=0 go run $(BUILD_FLAGS) $(ACTIONLINT) -shellcheck= -pyflakes= .github/workflows/*.yml

vuln: ## Look for known vulnerabilities, where the database can be reached
	go run $(GOVULNCHECK) ./...

cluster: plane ## Start a control plane of your own and print its kubeconfig
	@exec test/bin/cluster

plane:
	@test/build

deps:
	@scripts/deps

clean: ## Remove what was built
	rm -rf bin dist test/bin
