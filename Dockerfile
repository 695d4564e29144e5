# syntax=docker/dockerfile:1
# What the arguments, the volumes and the variables are for: docs/deployment.md.

ARG PYTHON_VERSION=3.11

FROM python:${PYTHON_VERSION}-slim AS build
# Nothing to be set runs with no network: `local` brings models and readers. `documents,tiktoken` is a third of the size.
ARG EXTRAS=local
WORKDIR /source
COPY . .
# the environment holds what runs and nothing that installs; versions are bounded in pyproject.toml
# hadolint ignore=DL3013
RUN --mount=type=cache,target=/var/cache/pip \
    PIP_CACHE_DIR=/var/cache/pip pip wheel --disable-pip-version-check --wheel-dir /wheels ".[${EXTRAS}]" \
    && python -m venv --without-pip /opt/lightrag \
    && pip --python /opt/lightrag/bin/python install --disable-pip-version-check --no-index --find-links /wheels \
        "lightrag-server[${EXTRAS}]"

FROM python:${PYTHON_VERSION}-slim
# tini reaps what parsers leave behind when they are killed, and passes signals on
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends tini \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --home-dir /data --shell /usr/sbin/nologin lightrag \
    && install --directory --owner lightrag --group lightrag --mode 0750 /data /inputs
COPY --from=build /opt/lightrag /opt/lightrag
COPY --chmod=0555 docker/healthcheck.py /usr/local/bin/healthcheck

# HOST is unset on purpose: the server then listens on every address where a key or an account exists, and on loopback
# alone where none does. So a container that was given no key cannot be reached from outside, and says so when it starts.
ENV PATH=/opt/lightrag/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PORT=9621 \
    WORKING_DIR=/data \
    INPUT_DIR=/inputs
WORKDIR /data
VOLUME ["/data", "/inputs"]
EXPOSE 9621
USER 10001:10001
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s --start-interval=2s --retries=3 CMD ["healthcheck"]
ENTRYPOINT ["tini", "--"]
CMD ["lightrag-server"]
