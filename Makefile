# `make` alone lists what there is.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

export CARGO_TARGET_DIR ?= $(CURDIR)/target
BIN := $(CARGO_TARGET_DIR)/release/millstream

help: ## list the targets
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

lint: ## clippy and tidy
	cargo clippy --locked --workspace --all-targets -- -D warnings
	cargo xtask tidy

fmt: ## format all Rust
	cargo fmt --all

.PHONY: help run build check lint fmt
