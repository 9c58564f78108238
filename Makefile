# The two commands a user needs are `make run` and `make test`; everything they lack, they install or name.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.PHONY: help setup run test test-next compare-next lint bench bench-next fuzz fixtures clean

# Debian packages: cmake and nasm build libaom (the AVIF encoder); libc6-dev and gcc link.
BUILD_PACKAGES := gcc g++ make cmake nasm perl ca-certificates
FUZZ_SECONDS ?= 30
# Tests of the service that are run once more with Redis behind it: what it keeps, forgets and waits for.
OVER_REDIS := caching:: counts:: fetching:: image_route:: load:: next_serving:: placeholder privacy:: purge:: quality:: refine:: reload:: sharing::

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

setup: ## Install the Debian packages that building needs (as root; otherwise names them)
	@scripts/packages.sh $(BUILD_PACKAGES)

run: setup ## Build and start the demo: the service, sample pictures, and a page to look at
	cargo run --profile demo --locked -- demo

test: setup ## Run all tests (PIXGATE_CORPUS=DIR adds the wide sweep over DIR)
	@scripts/packages.sh redis-server postgresql
	cargo test --locked --no-fail-fast
	if [ -n "$$PIXGATE_CORPUS" ]; then cargo test --locked --test api -- --ignored corpus; fi
	PIXGATE_TEST_REDIS=1 cargo test --locked --no-fail-fast --test api -- $(OVER_REDIS)
	scripts/test-next.sh

test-next: setup ## The Next.js part of the tests: package, example and README in Chromium, Next.js 14 to 16, compare-next
	scripts/test-next.sh

compare-next: setup ## Ask Next.js's image endpoint and ours the same; print each difference with its reason
	scripts/test-next.sh compare

lint: setup ## Formatting, clippy, licences, advisories and sources of dependencies
	scripts/lint.sh

bench: setup ## Measure against sharp, Next.js and oximg; hits against a bare actix handler; what each tier costs; what the metadata store answers
	@scripts/packages.sh wrk redis-server postgresql
	cargo bench --locked --bench bench_hit
	cargo bench --locked --bench bench_tiers
	cargo bench --locked --bench bench_store
	scripts/peers.sh && cargo bench --locked --bench bench_compare

bench-next: setup ## Measure pages in Chromium on Next.js's own optimizer and on Pixgate: LCP and bytes, cold and warm (ROUNDS=2, half an hour)
	scripts/test-next.sh bench

fuzz: setup ## Run every fuzz target for FUZZ_SECONDS (default 30) each
	FUZZ_SECONDS=$(FUZZ_SECONDS) scripts/fuzz.sh

fixtures: ## Make the pictures in fixtures/ anew (needs Python 3 with venv)
	scripts/fixtures.sh

clean: ## Remove build output
	cargo clean
