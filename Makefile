# make run    environment, MNIST, training, choice, archive, server, one question, the answer
# make demo   the server and a page to draw on; Ctrl-C stops both
# make test   environment, every check
#
# On a machine without an NVIDIA GPU, `make run TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu`
# spares the download of CUDA. No other index is asked for than pip's own unless it is named here.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
TORCH_INDEX_URL ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INDEX := $(if $(TORCH_INDEX_URL),--extra-index-url $(TORCH_INDEX_URL))

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help environment run demo test image frontend format clean

help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q' Makefile

environment: .venv/.installed

# Installed anew only when a requirements file changed; the mark is set last, so a broken install is done again.
.venv/.installed: requirements.txt requirements-serve.txt | .venv/bin/python
	$(PIP) install $(INDEX) -r requirements.txt | sed "/^Requirement already satisfied/d"
	@touch $@

.venv/.installed-dev: requirements-dev.txt .venv/.installed
	$(PIP) install $(INDEX) -r requirements-dev.txt | sed "/^Requirement already satisfied/d"
	@touch $@

.venv/bin/python:
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "error: Python 3.11 or newer is needed, found $$("$(PYTHON)" --version 2>&1); name one with PYTHON=..." >&2; exit 1; }
	@"$(PYTHON)" -m venv .venv || \
	  { echo "error: no virtual environment could be made; on Debian and Ubuntu: apt-get install python3-venv" >&2; rm -rf .venv; exit 1; }

run: .venv/.installed
	@$(BIN)/python -m mnist_lightning.lifecycle

demo: .venv/.installed
	@test -f model_store/mnist.mar || { echo "error: model_store/ has no model; make one with: make run" >&2; exit 1; }
	@$(BIN)/python -m mnist_lightning.draw --serve

test: .venv/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/pytest $(PYTEST_ARGS)

# The image with its labels. Settings: BASE_IMAGE=..., TORCH_INDEX_URL=... (empty for none), TORCH_VERSION=...,
# IMAGE=name, BUILD_FLAGS="flags of docker build". Handed on is what was set for this build, be it to nothing.
IMAGE ?= mnist-serve
SETTINGS := $(foreach name,BASE_IMAGE TORCH_INDEX_URL TORCH_VERSION,\
  $(if $(filter command environment,$(firstword $(origin $(name)))),--build-arg $(name)="$($(name))"))
image:
	@test -f model_store/mnist.json || { echo "error: model_store/ has no model; make one with: make run" >&2; exit 1; }
	docker build $(BUILD_FLAGS) $(SETTINGS) --build-arg MODEL="$$(cat model_store/mnist.json)" \
	  --build-arg VERSION="$$(git describe --always --tags)" --build-arg COMMIT="$$(git rev-parse HEAD)" \
	  -t $(IMAGE) .

# What stands before TorchServe's own classes. Needs a JDK; what it makes is in git, so that others need none.
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
	rm -rf .venv data mlflow.db mlruns checkpoints build .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find model_store -type f ! -name .gitkeep -delete
