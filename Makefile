# make demo   the main job, on an embedded simulated Cloud Run
# make test   every test; installs what it needs
# make dist   the static command, target/dist/runsd

SHELL := /bin/bash
CARGO ?= cargo
HOST := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
PYTHON := .venv/bin/python

.PHONY: help demo test dist lint header docs clean

help:
	@sed -n 's/^# //p' Makefile

demo:
	@tests/setup demo
	@$(CARGO) build --quiet --package runsd --package cloudrun-sim --bins
	@target/debug/cloudrun-sim demo --runsd target/debug/runsd

dist:
	RUSTFLAGS='-C target-feature=+crt-static' $(CARGO) build --release --target $(HOST) \
		--package runsd --bin runsd
	@mkdir -p target/dist
	@install -m 755 target/$(HOST)/release/runsd target/dist/runsd
	@ls -l target/dist/runsd

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

header:
	RUNSD_WRITE_HEADER=1 $(CARGO) test --package runsd-ffi --test header

docs:
	RUNSD_WRITE_DOCS=1 $(CARGO) test --package runsd --lib documents

# The Python tests are last, so that the run ends with their summary.
test:
	@tests/setup test
	$(MAKE) dist lint
	$(CARGO) build --workspace
	PATH="$(CURDIR)/.venv/bin:$$PATH" $(CARGO) test --workspace
	$(CARGO) test --workspace --doc
	@install -m 755 target/debug/lib_runsd.so python/runsd/_runsd.abi3.so
	@PYTHONPATH=python $(PYTHON) -m pytest -q python/tests

clean:
	$(CARGO) clean
	rm -rf .venv python/runsd/_runsd.abi3.so
