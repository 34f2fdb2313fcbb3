# `make` alone lists what there is. Nothing here needs root.

PYTHON ?= python3
BIN := .venv/bin
MINUTES ?= 60
PATHS := server tests
JS := client_js tests/compat/js
JS_TESTS = $(wildcard client_js/test/*.test.js client_js/test/*/*.test.js)
ON_POSTGRES := $(wildcard tests/integration/test_store_*.py tests/integration/test_chat_*.py)

.DEFAULT_GOAL := help
.PHONY: help setup no-node run psql doctor test test-js test-fast faults soak bench bench-peers check fmt fmt-check lint \
  types layers spell size vendor lock clean

# Node.js is for tests and tools only: without it they are left out, and say so.
NODE := $(shell node -e 'process.exit(+(parseInt(process.versions.node) < 20))' 2>/dev/null && echo yes)
NO_NODE := !!! NO NODE.JS 20 OR NEWER:
in_client = @$(if $(NODE),cd client_js && $(1),echo '$(NO_NODE) LEFT OUT: $(1) !!!')

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/ready $(if $(NODE),$(JS:%=%/node_modules/ready),no-node) ## Make .venv and install everything, once
.venv/ready: pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'Parley needs Python 3.11 or newer: make setup PYTHON=python3.12'; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[dev]'
	@touch $@

%/node_modules/ready: %/package-lock.json
	npm ci --prefix $* --silent --no-audit --no-fund
	@touch $@

no-node:
	@echo '$(NO_NODE) TESTS OF THE BROWSER CLIENT AND OF THE OFFICIAL CLIENTS WILL BE LEFT OUT !!!'

run: .venv/ready ## Serve at http://127.0.0.1:3210
	$(BIN)/parley serve

psql: .venv/ready ## Open psql on the database
	$(BIN)/parley psql

doctor: .venv/ready ## Say what is wrong with the set-up
	$(BIN)/parley doctor

# Nothing runs beside `faults`, which measures delays.
test: check test-js ## All that must hold before a merge: checks, tests on every Postgres, faults
	PYTHONASYNCIODEBUG=1 $(BIN)/pytest -n auto --dist loadfile
	@if $(BIN)/python -c 'from parley.store.hosting import find_system_binaries as f; print(f())'; \
	  then PARLEY_TEST_POSTGRES=system $(BIN)/pytest -n auto --dist loadfile $(ON_POSTGRES); \
	  else echo '!!! NO SYSTEM POSTGRES: TESTED ON THE EMBEDDED ONE ONLY !!!'; fi
	@$(MAKE) --no-print-directory faults

test-js: setup ## The tests of the browser client that need no browser
	$(call in_client,node --test --test-reporter=spec $(JS_TESTS:client_js/%=%))

test-fast: test-js ## The tests without a database or a socket, in seconds
	$(BIN)/pytest tests/unit -n auto

faults: setup ## Break things for 3 minutes and check every answer (docs/reliability.md)
	$(BIN)/python -m tests.faults.soak --seed 1 --seconds 80 --round 25 --clients 16
	$(BIN)/python -m tests.faults.fuzz --seed 1 --frames 20000
	$(BIN)/python -m tests.faults.restore --seed 1
	$(BIN)/python -m tests.faults.abuse --seconds 3

soak: setup ## The same for MINUTES=60, with new seeds
	$(BIN)/python -m tests.faults.soak --seconds $$(( $(MINUTES) * 60 )) --round 90

bench: setup ## Measure the server beside its floors (docs/performance.md)
	$(BIN)/python -m tests.load

bench-peers: tests/load/peers/node_modules/ready bench ## The same, beside servers of others from npm

check: fmt-check lint types layers spell size ## Format, lint, types, layers, spelling, size

fmt: setup ## Format the code
	$(BIN)/ruff format $(PATHS)
	$(BIN)/ruff check --fix $(PATHS)
	$(call in_client,node_modules/.bin/biome check --write .)

fmt-check: setup
	$(BIN)/ruff format --check $(PATHS)
	$(call in_client,node_modules/.bin/biome format .)

lint: setup ## Lint
	$(BIN)/ruff check $(PATHS)
	$(call in_client,node_modules/.bin/biome check --formatter-enabled=false .)

types: setup ## Check the types
	$(BIN)/mypy
	$(call in_client,node_modules/.bin/tsc -p .)

layers: setup ## Check that imports go down the layers
	$(BIN)/lint-imports

spell: setup ## Check the spelling
	$(BIN)/codespell

size: setup ## Check that the browser client stays small
	$(call in_client,node scripts/size.js)

vendor: setup ## Copy what the pages load of other packages to client_js/vendor
	$(call in_client,node scripts/vendor.js)

lock: setup ## Write the versions in .venv into requirements.lock
	@{ head -n 1 requirements.lock; $(BIN)/pip freeze --all --exclude-editable --exclude pip; } \
	  > requirements.new && mv requirements.new requirements.lock

clean: ## Remove what the tools made; .venv and the data in .parley stay
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage build dist
	find $(PATHS) -name __pycache__ -prune -exec rm -rf {} +
