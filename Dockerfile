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
    /opt/venv/bin/pip uninstall --yes pip setuptools wheel; \
    cd /opt/venv/lib/python3*/site-packages; \
    rm -rf torch/include torch/share torch/test torch/lib/*.a torch/bin/protoc* \
        numpy/*/tests numpy/_core/tests sympy/*/tests networkx/*/tests; \
    find /opt/venv -name __pycache__ -prune -exec rm -rf {} +

FROM ${BASE_IMAGE}
ARG VERSION=unknown
ARG COMMIT=unknown
LABEL org.opencontainers.image.title="mnist-serve" \
      org.opencontainers.image.description="Reads pictures of digits: POST /predictions/mnist" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${COMMIT}"
COPY --from=build /opt/venv /opt/venv
WORKDIR /srv
COPY mnist_lightning/__init__.py mnist_lightning/server.py mnist_lightning/serve.py mnist_lightning/
COPY config/config.properties config/log4j2.xml config/
COPY frontend/frontend.jar frontend/
COPY model_store/ model_store/
# A fixed number, so that volumes and policies can name it; it owns nothing in here. All that is written goes to /tmp.
USER 10001:10001
ENV HOME=/tmp PYTHONDONTWRITEBYTECODE=1
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=10s --start-period=30s CMD ["/opt/venv/bin/python", "-m", "mnist_lightning.serve", "--check"]
# Python is the first process: it passes SIGTERM on to Java and waits until all is answered.
ENTRYPOINT ["/opt/venv/bin/python", "-m", "mnist_lightning.serve", "--host", "0.0.0.0"]
