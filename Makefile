# make run     environment, MNIST, training, choice, archive, server, one question, the answer
# make demo    the server and a page to draw on; Ctrl-C stops both
# make loop    feedback, retraining, shadow, gate, promotion and rollback, with simulated people, in build/loop
# make check   the fast loop: format, lint, import contracts, types, unit tests
# make test    the gate: environment, all of check, every test
# make lock    compile the requirements files from pyproject.toml
# make audit   ask for known vulnerabilities of the locked packages
#
# On a machine without an NVIDIA GPU, `make run TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu`
# avoids the download of CUDA. Without it, packages come from the default index alone.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
TORCH_INDEX_URL ?=
BIN := .venv/bin
UV := $(BIN)/uv pip

# Tests run more threads than there are cores: one that waits actively takes its core from another.
test unit: export OMP_WAIT_POLICY := passive

# Every process imports large libraries: without cached bytecode each takes twice as long to start.
unexport PYTHONDONTWRITEBYTECODE

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help environment run demo loop check test lint types unit lock audit image frontend format clean

help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q' Makefile

environment: .venv/.installed

# The mark is set last, so that a broken installation is repeated.
.venv/.installed: requirements.txt | .venv/bin/uv
	$(call install,requirements.txt)
	@touch $@

# Tests start many processes at once: none of them compiles what it imports.
.venv/.installed-dev: export UV_COMPILE_BYTECODE = 1
.venv/.installed-dev: requirements-dev.txt | .venv/bin/uv
	$(call install,requirements-dev.txt)
	@touch .venv/.installed $@

# A requirements file with every hash checked. Torch's build of another index has another hash than the locked one:
# with TORCH_INDEX_URL torch and torchvision come from there by version alone, and CUDA's packages are left out.
define install
$(if $(TORCH_INDEX_URL),\
  $(WITHOUT_TORCH) $(1) >.venv/$(1); \
  $(UV) install --python $(BIN)/python --require-hashes --no-deps -r .venv/$(1); \
  $(UV) install --python $(BIN)/python --no-deps --index $(TORCH_INDEX_URL) --index-strategy unsafe-best-match \
    $$($(TORCH_PINS) $(1)),\
  $(UV) install --python $(BIN)/python --require-hashes -r $(1))
endef
WITHOUT_TORCH := awk '/^[a-z0-9]/ {skip = /^(torch|torchvision|triton|nvidia-[^=]*|cuda-[^=]*)==/} !skip'
TORCH_PINS := sed -nE 's/^((torch|torchvision)==[^ ;]+).*/\1/p'

.venv/bin/uv: | .venv/bin/python
	@awk '/^[a-z0-9]/ {keep = /^uv==/} keep' requirements-dev.txt >.venv/uv.txt
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --require-hashes -r .venv/uv.txt

.venv/bin/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: Python 3.11 or newer is needed, found $$("$(PYTHON)" --version 2>&1); name one with PYTHON=..." >&2; exit 1; }
	@"$(PYTHON)" -m venv .venv || \
	  { echo "error: the virtual environment cannot be created; on Debian and Ubuntu: apt-get install python3-venv" >&2; rm -rf .venv; exit 1; }

run: .venv/.installed
	@$(BIN)/python -m mnist_lightning.lifecycle

demo: .venv/.installed
	@$(BIN)/python -m mnist_lightning.draw --serve

loop: .venv/.installed-dev
	rm -rf build/loop
	@$(BIN)/python -m benchmarks.loop

check: .venv/.installed-dev
	@$(MAKE) --no-print-directory --jobs 2 --output-sync=target types unit lint

# Four processes take one file of tests after the other, each with its own servers, and fill two cores while some of
# them wait for servers and deadlines; the short files of tests/unit come last. The tests of the image need a Docker
# engine: .ci/image starts one and runs them.
test: .venv/.installed-dev
	@rm -f .coverage .coverage.*
	@$(MAKE) --no-print-directory lint types
	$(BIN)/pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder --cov --durations=25 \
	  --ignore tests/image $(PYTEST_ARGS)

lint:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports --no-logo

types:
	$(BIN)/mypy

# Nothing in tests/unit needs a port, a clock or a training. Its processes occupy the cores, so that each has one thread.
unit:
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist loadfile --hypothesis-profile fast tests/unit $(PYTEST_ARGS)

# MLflow needs graphene, which supports python-dateutil 2 only; graphene's versions from before that limit do not say so.
lock: .venv/bin/uv
	$(COMPILE) --output-file requirements.txt --constraints <(echo "python-dateutil<3") pyproject.toml
	$(COMPILE) --output-file requirements-serve.txt --constraints requirements.txt --group serve
	$(COMPILE) --output-file requirements-dev.txt --constraints requirements.txt --group dev pyproject.toml
COMPILE := $(UV) compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
  --custom-compile-command "make lock"

# Needs the network: packages that its database does not know, as torchserve's bundled Java, are listed as skipped.
audit: .venv/bin/uv
	$(BIN)/uv tool run pip-audit==2.9.0 --disable-pip --require-hashes -r requirements.txt -r requirements-serve.txt

# The image with its labels. Settings: BASE_IMAGE=..., IMAGE=name, BUILD_FLAGS="flags of docker build".
IMAGE ?= mnist-serve
image:
	docker build $(BUILD_FLAGS) $(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) \
	  --build-arg MODEL="$$(cat $(firstword $(wildcard model_store/mnist.json pretrained/mnist.json)))" \
	  --build-arg VERSION="$$(git describe --always --tags)" --build-arg COMMIT="$$(git rev-parse HEAD)" \
	  -t $(IMAGE) .

# Java classes that replace TorchServe's own. Building them needs a JDK; the jar is in git, so that using them does not.
frontend: .venv/.installed
	rm -rf build/frontend
	javac --release 17 -Xlint:all,-path -Werror -cp "$$(echo .venv/lib/python3*/site-packages/ts/frontend)/model-server.jar" \
	  -d build/frontend frontend/*.java
	echo "Source-SHA-256: $$(cat frontend/*.java | sha256sum | cut -d" " -f1)" > build/frontend.manifest
	jar --create --file frontend/frontend.jar --date 2025-01-01T00:00:00Z --manifest build/frontend.manifest -C build/frontend .

format: .venv/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf .venv data mlflow.db mlruns checkpoints build dist .coverage .coverage.* .mypy_cache .pytest_cache .ruff_cache \
	  .hypothesis .import_linter_cache
	find model_store -type f ! -name .gitkeep -delete
