# `make` alone lists what there is.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

export CARGO_TARGET_DIR ?= $(CURDIR)/target
BIN := $(CARGO_TARGET_DIR)/release/millstream
CARGO_DENY := 0.20.2
KAFKA_LIBS := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/millstream/kafka-4.3.1/libs

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: build ## build what is missing and start the platform with the demo stream
	$(BIN) up --demo

build: ## the release binary
	cargo build --release --locked -p millstream
	@echo "built $(BIN)"

check: ## the quick tier: format, lints, tidy, unit tests
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo xtask tidy
	cargo xtask codegen --check
	cargo test --locked --workspace --lib --bins

test: check deny build tools ## everything a change must pass; installs what it needs
	cargo xtask compare-schemas $(KAFKA_LIBS)
	MILLSTREAM_BIN=$(BIN) cargo test --locked --workspace --tests --no-fail-fast
	cargo run --locked --release -p millstream-sim -- --seeds 1000
	MILLSTREAM_BIN=$(BIN) apps/event-log/test.sh

conformance: build ## every client and tool, on Millstream and on a real Apache Kafka
	conformance/install.sh conformance
	MILLSTREAM_TIER=conformance MILLSTREAM_BIN=$(BIN) cargo test --locked -p millstream-conformance --no-fail-fast
	MILLSTREAM_TIER=conformance MILLSTREAM_TARGET=kafka \
		cargo test --locked -p millstream-conformance -p millstream-client --no-fail-fast

torture: build tools ## the long run: 200 kills, 20 power cuts, 1,000 flipped bits, 10,000 connections and the like, 100,000 seeds
	MILLSTREAM_KILL_ROUNDS=200 MILLSTREAM_POWER_ROUNDS=20 MILLSTREAM_FLIP_ROUNDS=1000 MILLSTREAM_BIN=$(BIN) \
		cargo test --locked -p millstream-conformance --test it -- --nocapture kill:: power:: faults::flips
	MILLSTREAM_HOSTILE_SCALE=10 MILLSTREAM_BIN=$(BIN) \
		cargo test --locked -p millstream-conformance --test it -- --nocapture --test-threads 1 hostile::
	cargo run --locked --release -p millstream-sim -- --seeds 100000

bench: build tools ## Millstream beside a real Apache Kafka and the floor; five rounds, hours; writes bench/RESULTS.md (ARGS=--resume)
	cargo test --release --manifest-path bench/Cargo.toml
	cargo run --release --manifest-path bench/Cargo.toml -- --bin $(BIN) $(or $(ARGS),--long)

bench-clients: build tools ## Millstream's client and tools beside librdkafka, Java's client and Kafka's tools; writes bench/CLIENTS.md
	cargo run --release --manifest-path bench/Cargo.toml -- --bin $(BIN) clients $(ARGS)

profile: build ## what the broker's processor time goes to and how often it allocates; needs root and perf; writes bench/PROFILE.md
	cargo run --release --manifest-path bench/Cargo.toml -- --bin $(BIN) profile $(ARGS)

soak: build ## an hour of everything at once, and whether the broker grows by it; writes bench/SOAK.md (ARGS=--minutes N)
	cargo run --release --manifest-path bench/Cargo.toml -- --bin $(BIN) soak $(ARGS)

tools:
	conformance/install.sh test

lint: ## clippy and tidy
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo xtask tidy

deny: ## licences and sources of all dependencies
	cargo deny --version >/dev/null 2>&1 || cargo install --locked cargo-deny@$(CARGO_DENY)
	cargo deny check licenses bans sources
	cargo deny --manifest-path fuzz/Cargo.toml --config deny.toml check licenses bans sources
	cargo deny --manifest-path bench/Cargo.toml --config deny.toml check licenses bans sources

fmt: ## format all Rust
	cargo fmt --all

.PHONY: help run build check test conformance torture bench bench-clients profile soak tools lint deny fmt
