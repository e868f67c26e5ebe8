# Tollgate: build, run and test. `make help` lists the targets.
GO      ?= go
DATA    ?= data
CONFIG  ?= config/config.yaml
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMPOSE ?= $(shell command -v docker-compose >/dev/null 2>&1 && echo docker-compose || echo docker compose)
LDFLAGS  = -s -w -X tollgate/node/cli.Version=$(VERSION)

.PHONY: help build run test unit race sim e2e readme bench outage fuzz lint fmt vet tidy setup ci docker cluster-up cluster-down
# The steps of test follow each other also under make -j.
.NOTPARALLEL:

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

build: ## build bin/tollgate, one static binary
	CGO_ENABLED=0 $(GO) build -trimpath -pgo bench/node.pgo -ldflags '$(LDFLAGS)' -o bin/tollgate .

run: build ## serve on :4000 with the shipped example config
	bin/tollgate serve --config $(CONFIG) --data-dir $(DATA)

setup: ## install what the tests need (SDK packages; on Debian as root also system packages)
	.ci/setup

test: setup lint race sim e2e ## everything: set-up, lint, unit tests with the race detector, simulations, end to end

unit: ## unit tests, fast
	$(GO) test ./...

# Virtual time and loops of kills are slow under the race detector: one world of
# each kind there, all of them in sim.
race: ## unit tests with the race detector
	SIM_SEEDS=1 $(GO) test -race -short -timeout 15m $$($(GO) list ./... | grep -v /node/e2e)

sim: ## whole clusters in virtual time under many seeds, and what else is short under the race detector
	$(GO) test -timeout 15m ./node/sim ./cluster/join ./cluster/sim ./limiter/... ./ledger/store

e2e: build ## whole processes: SDKs, kills, bursts, bad input
	.ci/e2e

readme: build ## run every example of the README against make run
	.ci/first-curl

bench: build ## processor time and latency against a bare forwarder
	$(GO) run ./bench

outage: build ## PostgreSQL away for MINUTES (30) at RATE (500) calls a second: none may fail, none be lost
	OUTAGE_MINUTES=$(or $(MINUTES),30) OUTAGE_RATE=$(or $(RATE),500) $(GO) test -run '^$$' -bench DatabaseOutage -benchtime 1x -timeout 3h ./node/e2e

fuzz: ## every fuzz target for FUZZTIME (default 30s)
	.ci/fuzz

lint: fmt vet ## formatting, vet, golangci-lint when it is installed
	@if command -v golangci-lint >/dev/null 2>&1; then golangci-lint run; else echo "golangci-lint is not installed: gofmt and go vet only"; fi

fmt:
	@out=$$(gofmt -l $$(find . -name '*.go' -not -path './node/e2e/sdk/*' -not -path './.*')); if [ -n "$$out" ]; then echo "not gofmt-ed: $$out"; exit 1; fi

vet:
	$(GO) vet ./...

tidy: ## go.mod and go.sum as the imports need them
	$(GO) mod tidy

docker: ## build the image tollgate:latest
	docker build --build-arg VERSION=$(VERSION) $(if $(BUILD_IMAGE),--build-arg BUILD_IMAGE=$(BUILD_IMAGE)) -t $(or $(TOLLGATE_IMAGE),tollgate:latest) .

cluster-up: .env ## three nodes in three regions, PostgreSQL and nginx on :4000, in containers
	$(COMPOSE) -f docker-compose.cluster.yml up -d

cluster-down: ## stop and remove the containers of cluster-up; volumes stay
	$(COMPOSE) -f docker-compose.cluster.yml down

.env:
	cp .env.example .env

ci: test ## what CI runs
