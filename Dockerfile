# tandemd in a container: make image. BASE is Debian 12 or newer, or anything with apt, Python 3.11 or newer and wheels for it.
# Debian's packages are not pinned (DL3008): the mirrors keep none but the newest, which has the security fixes.
# hadolint global ignore=DL3008
ARG BASE=debian:12-slim

FROM ${BASE} AS python
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/log/apt /var/log/dpkg.log

FROM python AS build
RUN apt-get update && apt-get install -y --no-install-recommends python3-venv && rm -rf /var/lib/apt/lists/*
WORKDIR /src
# First what seldom changes. Wheels only, each compared with its hash.
COPY requirements.lock ./
RUN python3 -m venv /opt/venvs/tandemd \
    && /opt/venvs/tandemd/bin/pip install --quiet --no-cache-dir --no-deps --only-binary :all: --require-hashes \
        --requirement requirements.lock
COPY . ./
RUN scripts/build-wheel python3 /wheel \
    && /opt/venvs/tandemd/bin/pip install --quiet --no-cache-dir --no-deps --no-index /wheel/*.whl \
    && scripts/finish-venv /opt/venvs/tandemd

FROM python
# The numbers are those that k8s/ names; a volume must be writable for them.
RUN groupadd --gid 10001 tandemd \
    && useradd --uid 10001 --gid 10001 --home-dir /var/lib/tandemd --no-create-home --shell /usr/sbin/nologin tandemd \
    && install -d -o 10001 -g 10001 -m 0700 /var/lib/tandemd
COPY --from=build /opt/venvs/tandemd /opt/venvs/tandemd
ENV PATH=/opt/venvs/tandemd/bin:$PATH TANDEMD_STATE_DIR=/var/lib/tandemd PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
VOLUME /var/lib/tandemd
EXPOSE 4001
# The check asks for /health, not /health/ready: a restart does not help while a database is away.
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ.get('PORT', 4001)}/health\", timeout=4)"]
ENTRYPOINT ["twistd", "--nodaemon", "--pidfile=", "tandemd"]
