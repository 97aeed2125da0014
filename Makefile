# Everything a newcomer needs: `make up` and `make test`. `make help` lists the rest.

SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help up down status test soak check fmt lint doc prepare packages tools deny

# Profile of `make up`: see [profile.up] in Cargo.toml.
PROFILE ?= up
PROGRAMS = $(or $(CARGO_TARGET_DIR),target)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))
CARGO = cargo --locked

help:
	@echo 'make up              build and start everything on this machine; Ctrl-C stops it'
	@echo 'make up DETACH=1     the same, in the background; make down stops it'
	@echo 'make status          what runs, and whether it is ready'
	@echo 'make test            every check and every test, as CI runs them'
	@echo 'make soak            the fault tests of the archive in their long form: half an hour'
	@echo 'make check           the quick part of it: format, lints, tests without servers'
	@echo 'make fmt             format the code'
	@echo 'make lint            clippy, as CI runs it'
	@echo 'make prepare         write generated files anew (.sqlx, docs)'

up: packages
	@echo 'building (the first time takes some minutes)'
	@$(CARGO) build --profile $(PROFILE) --package api --package workers --package agent --package gateway --package object-store --package cli --bins
	@scripts/link-command $(PROGRAMS)/ringmaster
	@exec $(PROGRAMS)/ringmaster up $(if $(DETACH),--detach)

down status:
	@test -x $(PROGRAMS)/ringmaster || { echo 'nothing was built yet: make up' >&2; exit 6; }
	@exec $(PROGRAMS)/ringmaster $@

test: packages tools
	@scripts/step 'format' cargo fmt --all --check
	@scripts/step 'lints' $(CARGO) clippy --workspace --all-targets -- -D warnings
	@RUSTDOCFLAGS='-D warnings' scripts/step 'documentation' $(CARGO) doc --workspace --no-deps --quiet
	@scripts/step 'queries' scripts/prepare-queries --check
	@scripts/step 'dependencies' scripts/check-dependencies
	@scripts/step 'programs and tests' $(CARGO) build --workspace --all-targets
	@scripts/step 'tests' $(CARGO) nextest run --workspace

# How long: see tests/it/soak/length.rs.
soak: packages tools
	@scripts/step 'programs and tests' $(CARGO) build --workspace --all-targets
	@RINGMASTER_SOAK=$(or $(RINGMASTER_SOAK),long) scripts/step 'soak tests' $(CARGO) nextest run --workspace --profile soak

check: tools
	@scripts/step 'format' cargo fmt --all --check
	@scripts/step 'lints' $(CARGO) clippy --workspace --all-targets -- -D warnings
	@scripts/step 'tests without servers' $(CARGO) nextest run --workspace --profile fast

fmt:
	@cargo fmt --all

lint:
	@$(CARGO) clippy --workspace --all-targets -- -D warnings

prepare: packages tools
	@scripts/prepare-queries
	@$(CARGO) run --quiet --package shared --example render_machines
	@$(CARGO) run --quiet --package tests --example render_documents

packages:
	@scripts/install-packages

tools:
	@scripts/install-tools
