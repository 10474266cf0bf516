# The same commands on a developer's machine and in CI.

CARGO ?= cargo
BUILD_PACKAGES = cmake g++
TEST_PACKAGES  = $(BUILD_PACKAGES) postgresql redis-server curl dnsmasq-base python3-venv
BENCH_PACKAGES = $(BUILD_PACKAGES) nginx haproxy varnish wrk postgresql redis-server nodejs npm python3-venv
SUITE_PACKAGES = nodejs npm
FUZZ_SECONDS  ?= 60
SUITE         ?=

.PHONY: run build test conformance lint drills fuzz bench clean help

help: ## what there is to make
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/\t/' | expand -t 10

run: build ## three backends and lb in front of them on http://127.0.0.1:8080, until Ctrl-C
	@exec scripts/run.sh

build: ## the release binaries
	@scripts/install.sh $(BUILD_PACKAGES)
	@$(CARGO) build --release --locked -p lb -p backend

test: ## every test there is, with throw-away PostgreSQL and Redis
	@scripts/install.sh $(TEST_PACKAGES) $(SUITE_PACKAGES)
	@# Together with the tests: by themselves the binaries would be built with fewer features of their dependencies, and so would all of these once more.
	@$(CARGO) build --locked --workspace --bins --tests
	@tests/with-servers.sh $(CARGO) test --locked --workspace
	@tests/with-servers.sh tests/openapi.sh
	@scripts/conformance.sh

conformance: ## the public suite for HTTP caches, against its recorded score (SUITE=CHECKOUT: the tests of a checkout of it)
	@scripts/install.sh $(BUILD_PACKAGES) $(SUITE_PACKAGES)
	@$(CARGO) build --locked -p lb
	@SUITE=$(SUITE) scripts/conformance.sh

lint: ## formatting and clippy, warnings are errors
	@scripts/install.sh $(BUILD_PACKAGES)
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy --locked --workspace --all-targets -- -D warnings

drills: build ## the drills at full length; writes docs/DRILLS.md
	@scripts/install.sh $(TEST_PACKAGES)
	@scripts/drills.sh

fuzz: ## look for inputs that break the readers of HTTP/1.1; FUZZ_SECONDS (60) in total
	@scripts/install.sh $(BUILD_PACKAGES)
	@CARGO=$(CARGO) FUZZ_SECONDS=$(FUZZ_SECONDS) scripts/fuzz.sh

bench: build ## lb beside nginx, HAProxy and what else is installed, backend beside Express and FastAPI; writes benches/RESULTS.md (ARGS=--quick: a first look)
	@scripts/install.sh $(BENCH_PACKAGES)
	@$(CARGO) build --release --locked -p lb-benches --bin compare
	@tests/with-servers.sh $(or $(CARGO_TARGET_DIR),target)/release/compare $(ARGS)

clean: ## what was built, and the data of `make run`
	@$(CARGO) clean
	@rm -rf data
