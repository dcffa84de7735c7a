# Every target is short; logic lives in Go. `make` alone prints this help.
SHELL := /bin/bash
.SHELLFLAGS := -o pipefail -c
GO ?= go
RUN ?= .
BENCH ?= .
N ?= 20
LINT := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
VULN := golang.org/x/vuln/cmd/govulncheck@v1.9.0
# The race detector needs a C compiler on Linux; CI has one, a bare machine may not.
RACE := $(if $(shell command -v cc),-race)
# One set of flags for everything that is not raced, so that each package is compiled once.
export GOFLAGS := -buildvcs=false -trimpath
# A static program everywhere; only the race detector needs a C compiler.
export CGO_ENABLED := 0

.DEFAULT_GOAL := help
.PHONY: help demo test build sops cluster unit lint vuln scenario update bench cost fmt

help: ## print this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z]+:.*## / {printf "  \033[1m%-10s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## a cluster, a Git server and Tradewind on this machine; Ctrl-C ends it
	@$(GO) run ./integration/build cluster tradewind demo
	@exec bin/demo

test: ## everything that must hold: format, lint, vulnerabilities, race tests, scenarios, cost
	@$(GO) run ./integration/build cluster tradewind
	@$(MAKE) --no-print-directory fmt unit sops lint vuln scenario cost

sops: ## bin/tradewind-sops, which decrypts files of SOPS, and its tests
	@$(GO) run ./integration/build tradewind-sops
	cd cmd/tradewind-sops && $(GO) vet . && $(GO) test .

build: ## bin/tradewind, one static binary
	@CGO_ENABLED=0 $(GO) run ./integration/build tradewind

cluster: ## bin/cluster, the real API server for tests and demo (built once, about 10 minutes)
	@$(GO) run ./integration/build cluster

unit: ## race-enabled tests of every package, fuzz seeds included
	$(GO) vet ./...
	CGO_ENABLED=$(if $(RACE),1,0) $(GO) test $(RACE) -p 1 -timeout 20m $$($(GO) list ./... | grep -v /integration$$)

lint: ## golangci-lint, from its Go module
	$(GO) run $(LINT) run ./...

vuln: ## known vulnerabilities that our code reaches; says so when the database is away
	@out=$$($(GO) run $(VULN) ./... 2>&1); code=$$?; tail -n 40 <<<"$$out"; \
	  if grep -q 'fetching vulnerabilities' <<<"$$out"; then echo 'vuln: NOT CHECKED, the vulnerability database cannot be reached' >&2; else exit $$code; fi

scenario: ## stories on the real cluster: make scenario RUN=<regexp>
	@$(GO) run ./integration/build tradewind-sops
	$(GO) test ./integration -count=1 -timeout 40m -v -run '^TestScenario$$|^TestRules' -scenario '$(RUN)'

update: ## rewrite golden files; the diff is the review
	$(GO) test ./sync/render ./handlers ./handlers/webhook ./cmd/tradewind/cli -update

bench: ## measurements: make bench BENCH=<regexp> N=<pushes>
	@$(GO) run ./integration/build cluster tradewind
	$(GO) run ./integration/bench -bench '$(BENCH)' -n $(N)

cost: ## counts of requests and ratios of processor times must be within their bounds
	@$(GO) run ./integration/build cluster tradewind
	$(GO) run ./integration/bench -bench '^fanout-100-' -out '' -check

fmt: ## fail when a file is not gofmt'ed
	@test -z "$$(gofmt -l cmd events handlers integration registry services sync deployments | tee /dev/stderr)"
