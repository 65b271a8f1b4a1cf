# make demo   the main job, on an embedded simulated Cloud Run
# make test   every test; installs what it needs
# make dist   the static command, the C library, the Python wheel and a .deb, in target/dist
# make command TARGET=aarch64-unknown-linux-gnu   the static command for another processor
# make docs   settings, JSON Schema and manual page, from the table of settings
# make figures   the plots and tables of docs/performance.md, from tests/bench/README.md
# make book   the documentation as a web site, in target/book
# make install PREFIX=/usr/local   the C library, for pkg-config
# make release VERSION=x.y.z [ADVISORIES=FOLDER]   everything that a release has, checked, in
#   target/release-x.y.z

SHELL := /bin/bash
CARGO ?= cargo
HOST := $(shell rustc -vV 2>/dev/null | sed -n 's/^host: //p')
PYTHON := .venv/bin/python
PREFIX ?= /usr/local
NATIVE := --package runsd --no-default-features --features cli,native-tls

TARGET ?= $(HOST)
# Packed relocations, one copy of equal functions, and functions put into their
# callers only where they are small: for a command of at most 5 MB.
PACKED := -C link-arg=-Wl,-O2,-z,pack-relative-relocs,--icf=all -C llvm-args=-inline-threshold=50
# What is built somewhere else is the same to the last byte.
CRATES := $(or $(CARGO_HOME),$(HOME)/.cargo)/registry/src
REMAP := --remap-path-prefix=$(CURDIR)=runsd $$(printf -- '--remap-path-prefix=%s=crates ' $(CRATES)/*)

.PHONY: help demo test dist command library install wheel deb lint native-tls header docs figures \
	book release clean

help:
	@sed -n 's/^# \(make .*\|  .*\)/\1/p' Makefile

demo:
	@tests/setup demo
	@$(CARGO) build --quiet --package runsd --package cloudrun-sim --bins
	@target/debug/cloudrun-sim demo --runsd target/debug/runsd

dist: command library wheel deb
	@ls -l target/dist/*

# One file that needs nothing of the system it runs on. Another TARGET's stands
# in a folder of its name.
command: export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER ?= aarch64-linux-gnu-gcc
command:
	@.ci/target $(TARGET)
	$(CARGO) fetch --quiet --locked
	RUSTFLAGS="-C target-feature=+crt-static $(REMAP)" $(CARGO) rustc --release --target $(TARGET) \
		--package runsd --bin runsd -- $(if $(filter x86_64%,$(TARGET)),$(PACKED))
	@install -D -m 755 target/$(TARGET)/release/runsd \
		target/dist/$(if $(filter $(HOST),$(TARGET)),,$(TARGET)/)runsd

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

# The command, its manual page and completions, for dpkg.
deb: command
	@tests/setup deb
	.ci/deb target/dist

lint:
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings
	$(CARGO) clippy $(NATIVE) --all-targets -- -D warnings
	$(CARGO) clippy --package runsd-ffi --package runsd-python -- -D warnings
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc --no-deps

header:
	RUNSD_WRITE_HEADER=1 $(CARGO) test --package runsd-ffi --test header

docs:
	RUNSD_WRITE_DOCS=1 $(CARGO) test --package runsd --lib says_what_the_table_says

figures:
	docs/book/diagrams
	docs/book/figures

book:
	@tests/setup book
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --quiet --strict --config-file docs/book/mkdocs.yml
	@echo "to read it, with its search: python3 -m http.server --directory target/book"

release:
	@.ci/release $(VERSION) $(ADVISORIES)

# The engine over the platform's own TLS library, by the same tests. It leaves
# its command in target/debug, so the workspace is built after it.
native-tls:
	$(CARGO) test $(NATIVE)

# The Python tests are last, so that the run ends with their summary.
test:
	@tests/setup test
	$(MAKE) deb lint native-tls
	$(CARGO) build --workspace
	PATH="$(CURDIR)/.venv/bin:$$PATH" $(CARGO) test --workspace
	@install -m 755 target/debug/lib_runsd.so python/runsd/_runsd.abi3.so
	@PYTHONPATH=python $(PYTHON) -m pytest -q python/tests

clean:
	$(CARGO) clean
	rm -rf .venv python/runsd/_runsd.abi3.so
