# make demo   the main job, on an embedded simulated Cloud Run
# make test   every test; installs what it needs
# make dist   the static command, the C library and the Python wheel, in target/dist
# make docs   docs/settings.md and the JSON Schema, from the table of settings
# make install PREFIX=/usr/local   the C library, for pkg-config

SHELL := /bin/bash
CARGO ?= cargo
HOST := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
PYTHON := .venv/bin/python
PREFIX ?= /usr/local
NATIVE := --package runsd --no-default-features --features cli,native-tls

.PHONY: help demo test dist command library install wheel lint native-tls header docs clean

help:
	@sed -n 's/^# \(make .*\)/\1/p' Makefile

demo:
	@tests/setup demo
	@$(CARGO) build --quiet --package runsd --package cloudrun-sim --bins
	@target/debug/cloudrun-sim demo --runsd target/debug/runsd

dist: command library wheel
	@ls -l target/dist/*

# One file that needs nothing of the system it runs on, and of at most 5 MB: packed
# relocations, one copy of equal functions and strings, and functions put into
# their callers only where they are small. Instructions for a request: the same.
command:
	RUSTFLAGS='-C target-feature=+crt-static' $(CARGO) rustc --release --target $(HOST) \
		--package runsd --bin runsd -- \
		-C link-arg=-Wl,-O2,-z,pack-relative-relocs,--icf=all \
		-C llvm-args=-inline-threshold=25 -C llvm-args=-inlinehint-threshold=50
	@mkdir -p target/dist
	@install -m 755 target/$(HOST)/release/runsd target/dist/runsd

library:
	$(CARGO) build --release --package runsd-ffi --lib
	@ffi/install target/release $(CURDIR)/target/dist relocatable

# PREFIX may be anywhere; packagers put DESTDIR before it.
install:
	$(CARGO) build --release --package runsd-ffi --lib
	ffi/install target/release $(PREFIX)

# Against a glibc that is old enough for every distribution still in use.
wheel: command
	@tests/setup wheel
	python/wheel target/dist/runsd target/dist --release --strip --zig --compatibility manylinux2014

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) clippy $(NATIVE) --all-targets -- -D warnings
	$(CARGO) clippy --package runsd-ffi --package runsd-python -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --no-deps

header:
	RUNSD_WRITE_HEADER=1 $(CARGO) test --package runsd-ffi --test header

docs:
	RUNSD_WRITE_DOCS=1 $(CARGO) test --package runsd --lib documents

# The engine over the platform's own TLS library, by the same tests. It leaves
# its command in target/debug, so the workspace is built after it.
native-tls:
	$(CARGO) test $(NATIVE)

# The Python tests are last, so that the run ends with their summary.
test:
	@tests/setup test
	$(MAKE) command lint native-tls
	$(CARGO) build --workspace
	PATH="$(CURDIR)/.venv/bin:$$PATH" $(CARGO) test --workspace
	@install -m 755 target/debug/lib_runsd.so python/runsd/_runsd.abi3.so
	@PYTHONPATH=python $(PYTHON) -m pytest -q python/tests

clean:
	$(CARGO) clean
	rm -rf .venv python/runsd/_runsd.abi3.so
