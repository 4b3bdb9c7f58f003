# run: the daemon in the foreground. test: the whole suite, or TESTS. check: ruff, mypy, prose, manifests, alerts, scripts. bench: figures.
# site: the documents as a website.
# None of these needs more than python3 and venv. deb: the Debian package, in dist/. image: the container image.
# up: the stack of docker-compose.yml, running. lock: pin the deployed packages again. audit: ask whether what is pinned has known faults; needs the network.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# In this mode the plugin is found by twistd; in pip's usual editable mode it is not.
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --config-settings editable_mode=compat --editable

.PHONY: run test coverage chaos simulate fuzz attacks check bench together e2e browser screenshots site format clean deb image up lock audit

run: ARGS ?= --log-format=text
# Without a configuration file, members may show any https URL, unless TANDEMD_TITLES_ALLOWED names others. VIDEOS: a directory
# with films for the party page.
run: $(VENV)/installed
	$(if $(filter -c% --config%,$(ARGS)),,TANDEMD_TITLES_ALLOWED="$${TANDEMD_TITLES_ALLOWED:-https://*}") \
	$(if $(VIDEOS),TANDEMD_WEB_VIDEOS_DIR='$(subst ','\'',$(VIDEOS))') \
	$(BIN)/twistd --nodaemon --pidfile= tandemd $(ARGS)

# TESTS: names of modules. SEED: for a random order, of modules and within them; `random` for any. BUSY: so many processes
# beside it that keep a core busy. ARGS: other options, see `python -m tests --help`.
test: $(VENV)/installed-dev
	$(BIN)/python -m tests $(if $(SEED),--seed $(SEED)) $(if $(BUSY),--busy $(BUSY)) $(ARGS) $(TESTS)

# The suite, or TESTS, with the lines of tandemd/ that no test runs. It takes about twice the time of make test.
coverage: $(VENV)/installed-dev
	rm -rf .coverage && mkdir .coverage
	$(BIN)/coverage run -m tests $(ARGS) $(TESTS) || echo "some tests failed; the report holds for what ran"
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report
	$(BIN)/coverage html --quiet --directory .coverage/html

# ARGS: --seconds N --seed S. Many people, faults at random, for long.
chaos: $(VENV)/installed-dev
	$(BIN)/python -m tests.chaos $(ARGS)

# A cluster on simulated time, until a schedule fails or COUNT have passed. SEED: shows one again. SIZE: small or large. TRACE=1:
# prints all that happened, which is the same each time. JOBS: processes. RESUME: a file that keeps the next seed. ARGS: other
# options, such as --twice.
simulate: $(VENV)/installed-dev
	$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED)) $(if $(COUNT),--count $(COUNT)) $(if $(SIZE),--size $(SIZE)) \
		$(if $(TRACE),--trace) $(if $(JOBS),--jobs $(JOBS)) $(if $(RESUME),--resume $(RESUME)) $(ARGS)

# ARGS: --target one|two, --seconds N (of a window) --rounds N --only TEXT --json FILE --exhaustion N (seconds).
# LOAD: --target one|two, --seconds N, --only TYPE. Takes 90 minutes; needs nginx.
attacks: $(VENV)/installed-dev
	$(BIN)/python -m tests.attacks $(ARGS)
	$(BIN)/python -m tests.attacks.load $(LOAD)

# ARGS: --seconds N (for each target) --seed S, and targets. What is found is kept in .fuzz.
fuzz: $(VENV)/installed-fuzz
	$(BIN)/python -m tests.fuzz $(ARGS)

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python scripts/check_prose.py
	$(BIN)/python scripts/check_operations.py
	scripts/check_schemas
	scripts/check_client
	$(BIN)/hadolint Dockerfile
	$(BIN)/shellcheck $(shell grep --files-with-matches --recursive --max-count=1 '^#!/bin/\(ba\)\?sh' .ci scripts \
		debian/certbot-deploy-hook $(addprefix debian/tandemd.,postinst prerm postrm))

bench: $(VENV)/installed-dev
	$(BIN)/python -m bench $(ARGS)

# How far apart the players of a room are, beside models of other rules; needs node, and Chromium for a part. ARGS: --seed N,
# --viewers N, --jitter MS, --rounds N, --seconds N, --only PART, --no-models, --no-pages, --no-viewers, --output FILE.
together: $(VENV)/installed-dev
	$(BIN)/python -m bench.together $(ARGS)

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

deb:
	dpkg-checkbuilddeps
	mkdir -p dist
	debian/rules clean binary

# IMAGE: its name. BASE: the image to build on, Debian 12 or newer. OCI: the program that builds it, docker or podman too.
IMAGE ?= tandemd
OCI ?= $(firstword $(foreach program,docker buildah podman,$(shell command -v $(program) 2>/dev/null)) docker)
image:
	$(OCI) build $(if $(BASE),--build-arg BASE=$(BASE)) --tag $(IMAGE) $(ARGS) .

# The stack of docker-compose.yml, with passwords of its own; waits until it is healthy.
COMPOSE ?= $(OCI) compose
up: .env
	$(COMPOSE) up --detach --build --wait

.env: .env.example
	$(PYTHON) -c "import re, secrets, sys; sys.stdout.write(re.sub(r'(?m)(?<=_PASSWORD=)$$', \
		lambda _: secrets.token_hex(16), sys.stdin.read()))" < .env.example > $@.new
	chmod 600 $@.new
	mv --no-clobber $@.new $@
	rm -f $@.new

# For all platforms and all Pythons from 3.11 on. pip takes only files with these hashes.
LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--custom-compile-command "make lock" $(ARGS)
lock: $(VENV)/installed
	$(BIN)/pip install --quiet uv
	$(LOCK) setup.py --output-file requirements.lock
	printf 'setuptools>=69\nwheel\n' | $(LOCK) - --output-file requirements-build.lock

audit: $(VENV)/installed
	$(BIN)/pip install --quiet pip-audit
	$(BIN)/pip-audit --strict --disable-pip --require-hashes --requirement requirements.lock

clean:
	rm -rf $(VENV) build dist *.egg-info _trial_temp* .hypothesis .fuzz .mypy_cache .ruff_cache .coverage

# As an operator would, with private servers: ten nodes; backup and restore; a rolling restart behind nginx.
e2e: $(VENV)/installed-dev
	$(BIN)/python scripts/e2e-ten-nodes
	$(BIN)/python scripts/e2e-backup
	$(BIN)/python scripts/e2e-proxy

# Drives Chromium in the tests of the party page, which are skipped without it; 165 MB.
browser: $(VENV)/installed-dev
	$(INSTALL) .[browser]

# The pictures in docs/images; needs node, npm and Chromium.
screenshots: $(VENV)/installed-dev
	scripts/screenshots

site: $(VENV)/installed
	@echo "Installing mkdocs and mermaid into $(VENV), about 170 MB; then writing site/"
	$(INSTALL) .[docs]
	$(BIN)/mkdocs build --quiet
	npm install --silent --no-save --prefix $(VENV)/mermaid mermaid@11 && \
		cp $(VENV)/mermaid/node_modules/mermaid/dist/mermaid.min.js site/javascripts/ || echo "without npm the diagrams stay text"
	@echo "the website is in site/: open site/index.html"

$(VENV)/installed: setup.py pyproject.toml
	@echo "Installing what tandemd needs into $(VENV), about 60 MB; half a minute or a few"
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@echo "Installing the tools and the private PostgreSQL, Redis and nginx of the tests into $(VENV), about 450 MB"
	$(INSTALL) .[dev]
	touch $@

$(VENV)/installed-fuzz: $(VENV)/installed
	$(INSTALL) .[fuzz]
	touch $@
