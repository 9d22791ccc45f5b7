# The two commands that matter:  make serve   and   make test

PYTHON ?= python3
BIN    := .venv/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --quiet
NPM    ?= npm
APP    ?=
ARGS   ?=
TESTS  ?=

# Tests that look at the clock, at memory or at a browser have the machine for themselves; all others
# are run two at a time before.  TESTS=… runs what it names, one after the other.
ALONE  := tests/bench tests/browser tests/cluster_faults tests/network \
          $(addprefix tests/e2e/test_,drain_under_load.py hibernation.py interrupts.py \
            kill_under_load.py stalled_reader.py)
PYTEST := $(BIN)/python -m pytest -q
ifdef TESTS
  tested = $1 $(PYTEST) $(TESTS) $(ARGS)
else
  tested = $1 $(PYTEST) --numprocesses 2 --dist loadfile $(ALONE:%=--ignore=%) tests $(ARGS) && \
    $1 $(PYTEST) $(ALONE) $(ARGS)
endif

# Where verify takes its counts from: tests multiply by it what they repeat.
SCALE  ?= 10

RUNTIME := .venv/.installed-runtime
DEV     := .venv/.installed-dev
WSCAT   := tests/wscat/node_modules/.installed
SDK     := sdk/javascript/node_modules/.installed
PEER    := examples/bench/peers/node/node_modules/.installed
BROWSER := tests/browser/node_modules/.installed
WIDGET  := examples/widget/node_modules/.installed
SPECS   := tests/asyncapi/node_modules/.installed

.DEFAULT_GOAL := help
.PHONY: help serve test setup setup-dev verify soak simulate fuzz bench lint format docs lock clean
.DELETE_ON_ERROR:

help:
	@echo "make serve    run the server on 127.0.0.1:8710   (APP=module:name  ARGS='--port 9000')"
	@echo "make test     run every test at test size        (TESTS=tests/protocol)"
	@echo
	@echo "make setup    install what the server needs into .venv, from the lock"
	@echo "make verify   run every test at $(SCALE) times its test size (SCALE=100 for longer)"
	@echo "make soak     load for an hour with a fault every 30 s: is all flat? (SOAK_SECONDS=120)"
	@echo "make simulate play a million histories, or two hours of them, on all cores"
	@echo "make fuzz     bad bytes for every parser and a live server, a minute each (FUZZ_SECONDS=3600)"
	@echo "make bench    goals, figures and verdicts, beside servers written by hand (ARGS='--help')"
	@echo "make lint     ruff, pyright and the import contracts"
	@echo "make format   let ruff format and mend what it can"
	@echo "make docs     write the generated pages of docs/ again"
	@echo "make lock     resolve the dependencies again (UPGRADE=--upgrade for the newest)"
	@echo "make clean    remove all that was built or installed here"

serve: setup
	@exec $(BIN)/bargein serve $(APP) $(ARGS)

setup: $(RUNTIME)
setup-dev: $(DEV)

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "bargein needs Python 3.11 or newer: make PYTHON=python3.11 …" >&2; exit 1; }
	@echo "creating .venv"
	@$(PYTHON) -m venv .venv

# What is installed is what the lock names, byte for byte, and then the working tree itself.
$(RUNTIME): requirements.lock pyproject.toml | $(BIN)/python
	@echo "installing requirements.lock"
	@$(PIP) install --require-hashes -r requirements.lock
	@PYTHONWARNINGS=ignore $(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV): requirements-dev.lock $(RUNTIME)
	@echo "installing requirements-dev.lock"
	@$(PIP) install --require-hashes -r requirements-dev.lock
	@touch $@

# One test talks to the server through wscat, some through the JavaScript SDK, some through pages in
# Chromium, and a peer of the benchmark is a Node program.  Without Node they are skipped, and say so.
$(WSCAT) $(SDK) $(BROWSER) $(WIDGET) $(SPECS) $(PEER): %/node_modules/.installed: %/package-lock.json
	@if command -v $(NPM) >/dev/null; then \
	  echo "installing $<"; \
	  cd $* && $(NPM) ci --silent --ignore-scripts --no-audit --no-fund && touch node_modules/.installed; \
	else \
	  echo "npm is not here: the tests in need of $< will be skipped"; \
	fi

test: $(DEV) $(WSCAT) $(SDK) $(BROWSER) $(WIDGET) $(SPECS) $(PEER)
	@$(call tested)

verify: $(DEV) $(WSCAT) $(SDK) $(BROWSER) $(WIDGET) $(SPECS) $(PEER)
	@$(call tested,BARGEIN_TEST_SCALE=$(SCALE))

soak: $(DEV)
	@$(BIN)/python -m tests.soak

simulate: $(DEV)
	@$(BIN)/python -m tests.soak.simulate

fuzz: $(DEV)
	@FUZZ_SECONDS=$${FUZZ_SECONDS:-60} $(BIN)/python -m pytest -q tests/fuzz $(ARGS)

bench: $(DEV) $(PEER)
	@$(BIN)/python -m examples.bench $(ARGS)

lint: $(DEV)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/pyright
	@PYTHONPATH=.dev $(BIN)/lint-imports --no-logo

format: $(DEV)
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

docs: $(DEV)
	@$(BIN)/python -m tests.project.settings_page > docs/settings.md
	@$(BIN)/python -m tests.docs.metrics_page > docs/metrics.md
	@$(BIN)/python -m tests.docs.protocol_tables
	@$(BIN)/python -m tests.docs.error_page
	@$(BIN)/python -m tests.sdk.protocol_types

# Resolved from the default index alone: a local configuration must not choose what others install,
# nor leave its addresses in the files.
COMPILE = PIP_CONFIG_FILE=/dev/null PIP_FIND_LINKS= PIP_INDEX_URL= PIP_EXTRA_INDEX_URL= \
  $(BIN)/pip-compile pyproject.toml --quiet $(UPGRADE) --all-build-deps --generate-hashes \
  --allow-unsafe --strip-extras --no-header --no-emit-options --no-emit-index-url \
  --no-emit-find-links --no-emit-trusted-host

lock: $(DEV)
	@echo "resolving requirements.lock"
	@$(COMPILE) --output-file requirements.lock
	@echo "resolving requirements-dev.lock"
	@$(COMPILE) --extra dev --constraint requirements.lock --output-file requirements-dev.lock
	@echo "resolving deploy/requirements.lock"
	@$(COMPILE) --extra redis --extra otel --constraint requirements-dev.lock \
	  --output-file deploy/requirements.lock

clean:
	@rm -rf .venv build dist *.egg-info
	@rm -rf sdk/javascript/node_modules tests/asyncapi/node_modules
	@rm -rf tests/browser/node_modules tests/wscat/node_modules
	@rm -rf examples/bench/peers/node/node_modules
	@rm -rf examples/widget/node_modules examples/widget/dist
	@rm -rf .pytest_cache .ruff_cache .hypothesis .import_linter_cache .coverage* htmlcov
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
