# make demo and make test need nothing but Go and Debian with root or sudo; they install and build the rest.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := build

PROGRAM := bin/sa-exec-credential
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null)
STATICCHECK := honnef.co/go/tools/cmd/staticcheck@v0.8.2
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
FUZZTIME ?= 60s
SOAKTIME ?= 5m

# The flags of what is built anyway, so that tests find most of it compiled.
BUILD_FLAGS := -trimpath
PLANE_FLAGS := -trimpath -gcflags=all=-dwarf=false

.PHONY: help build install demo test unit race e2e interrupt compat cross windows brief-fuzz fuzz brief-soak soak bench bench-policy lint vuln cluster plane deps clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  \1\t\2/' | expand -t 12

build: ## Build the plugin into bin/
	@echo "make: building $(PROGRAM)" >&2
	CGO_ENABLED=0 go build $(BUILD_FLAGS) -ldflags "-s -w -X main.version=$(VERSION)" -o $(PROGRAM) ./cmd/sa-exec-credential

install: build ## Install the plugin into /usr/local/bin (or PREFIX/bin)
	install -D -m 0755 $(PROGRAM) $(DESTDIR)$(or $(PREFIX),/usr/local)/bin/sa-exec-credential

demo: deps plane build ## Run the main job on a control plane of its own, from setup to a kubectl call
	@scripts/demo

test: deps plane build unit race brief-fuzz e2e brief-soak cross ## Run every test

unit: ## Test the packages and the command line
	@echo "make: testing the packages" >&2
	CGO_ENABLED=0 go test $(BUILD_FLAGS) -timeout 15m ./...

race: ## Test what runs in one process with the race detector
	@echo "make: testing the packages again, with the race detector (compiling it takes a while)" >&2
	go test -race -timeout 15m ./internal/...

# One control plane serves all packages but those that break theirs. -count=1: go test does not see
# that the program under test is another one, and would answer from its cache.
e2e: ## Test on the real control plane, with the real kubectl and keyrings
	@echo "make: testing on the real control plane" >&2
	rm -rf test/bin/hints && mkdir -p test/bin/hints
	cd test && LAB_HINTS=$(CURDIR)/test/bin/hints CGO_ENABLED=0 SA_EXEC_CREDENTIAL=$(CURDIR)/$(PROGRAM) bin/cluster go test $(PLANE_FLAGS) -p 2 -count=1 -timeout 20m ./...
	cd test && CGO_ENABLED=0 go run $(PLANE_FLAGS) ./cmd/hints bin/hints

interrupt: deps plane build ## Interrupt setup, rotate and revoke at every request and write, not only at some
	cd test && INTERRUPT=everywhere CGO_ENABLED=0 SA_EXEC_CREDENTIAL=$(CURDIR)/$(PROGRAM) bin/cluster go test $(PLANE_FLAGS) -count=1 -p 1 -timeout 60m -run Interrupted\|Killed -v ./rotate ./setup

compat: deps plane build ## Run every job on old and new versions of Kubernetes, and print a table
	@SA_EXEC_CREDENTIAL=$(CURDIR)/$(PROGRAM) test/compat/run

cross: ## See that the program builds for the other platforms
	@for os in darwin windows; do echo "make: checking $$os" >&2; GOOS=$$os CGO_ENABLED=0 go build -o /dev/null ./cmd/sa-exec-credential; done

windows: plane ## Run the main job with Windows builds under wine
	@scripts/windows

brief-fuzz:
	@echo "make: fuzzing every parser briefly" >&2
	@scripts/fuzz 2000x

fuzz: ## Fuzz every parser of foreign input, each for FUZZTIME
	@scripts/fuzz $(FUZZTIME)

brief-soak:
	@echo "make: a short soak" >&2
	cd test && CGO_ENABLED=0 SA_EXEC_CREDENTIAL=$(CURDIR)/$(PROGRAM) SOAKTIME=20s go run $(PLANE_FLAGS) ./cmd/soak

soak: deps plane build ## Run a mix of workers and faults for SOAKTIME
	cd test && CGO_ENABLED=0 SA_EXEC_CREDENTIAL=$(CURDIR)/$(PROGRAM) SOAKTIME=$(SOAKTIME) go run $(PLANE_FLAGS) ./cmd/soak

bench: deps plane build ## Print the whole-process medians, and a floor of each, from one run
	@echo "make: building what is compared" >&2
	CGO_ENABLED=0 go build $(BUILD_FLAGS) -ldflags "-s -w" -o bin/ ./internal/bench/...
	cd test && CGO_ENABLED=0 go build $(PLANE_FLAGS) -o bin/bench ./cmd/bench
	@test/bin/bench

bench-policy: plane ## Print what the admission policy costs a cluster, by the number of accounts
	cd test && CGO_ENABLED=0 go build $(PLANE_FLAGS) -o bin/benchpolicy ./cmd/benchpolicy
	@test/bin/benchpolicy

lint: ## gofmt, go vet and staticcheck
	@echo "make: linting" >&2
	@unformatted=$$(git ls-files '*.go' | xargs gofmt -l); if [[ -n $$unformatted ]]; then echo "gofmt would change: $$unformatted" >&2; exit 1; fi
	go vet ./...
	cd test && go vet ./...
	go run $(STATICCHECK) ./...
	cd test && go run $(STATICCHECK) ./...

vuln: ## Look for known vulnerabilities, where the database can be reached
	go run $(GOVULNCHECK) ./...

cluster: plane ## Start a control plane of your own and print its kubeconfig
	@exec test/bin/cluster

plane:
	@test/build

deps:
	@scripts/deps

clean: ## Remove what was built
	rm -rf bin test/bin
