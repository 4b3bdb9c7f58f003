# run: the daemon in the foreground. test: the whole suite. check: ruff, mypy, manifests and alerts. bench: figures.
# site: the documents as a website.
# None needs more than python3 and venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Options of trial: two processes take half the time.
TRIAL ?= -j2
# In this mode the plugin is found by twistd; in pip's usual editable mode it is not.
INSTALL := $(BIN)/pip install --quiet --disable-pip-version-check --config-settings editable_mode=compat --editable

.PHONY: run test chaos fuzz check bench walk site format clean

run: ARGS ?= --log-format=text
run: $(VENV)/installed
	$(BIN)/twistd --nodaemon --pidfile= tandemd $(ARGS)

test: $(VENV)/installed-dev
	$(BIN)/python -m twisted.trial $(TRIAL) tests

# ARGS: --seconds N --seed S. Many people, faults at random, for long.
chaos: $(VENV)/installed-dev
	$(BIN)/python -m tests.chaos $(ARGS)

# ARGS: --seconds N (for each target) --seed S, and targets. What is found is kept in .fuzz.
fuzz: $(VENV)/installed-fuzz
	$(BIN)/python -m tests.fuzz $(ARGS)

check: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python scripts/check_operations.py

bench: $(VENV)/installed-dev
	$(BIN)/python -m bench $(ARGS)

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) build dist *.egg-info _trial_temp* .hypothesis .fuzz .mypy_cache .ruff_cache

# As an operator would, with private servers: ten nodes; backup and restore; a rolling restart behind nginx.
walk: $(VENV)/installed-dev
	$(BIN)/python scripts/walk-ten-nodes
	$(BIN)/python scripts/walk-backup
	$(BIN)/python scripts/walk-proxy

site: $(VENV)/installed
	$(INSTALL) .[docs]
	$(BIN)/mkdocs build --quiet

$(VENV)/installed: setup.py pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed
	$(INSTALL) .[dev]
	touch $@

$(VENV)/installed-fuzz: $(VENV)/installed
	$(INSTALL) .[fuzz]
	touch $@
