# `make` alone lists what there is. Nothing here needs root.

PYTHON ?= python3
BIN := .venv/bin
COMPAT := tests/compat/js
MINUTES ?= 60
PATHS := server tests
ON_POSTGRES := $(wildcard tests/integration/test_store_*.py tests/integration/test_chat_*.py)

.DEFAULT_GOAL := help
.PHONY: help setup run psql doctor test test-fast faults soak check fmt fmt-check lint types layers spell lock clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/ready ## Make .venv and install everything, once
.venv/ready: pyproject.toml requirements.lock $(wildcard $(COMPAT)/package-lock.json)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo 'Parley needs Python 3.11 or newer: make setup PYTHON=python3.12'; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c requirements.lock -e '.[dev]'
	@if node -e 'process.exit(+(parseInt(process.versions.node) < 20))' 2>/dev/null; \
	  then npm ci --prefix $(COMPAT) --silent --no-audit --no-fund; \
	  else echo '!!! NO NODE 20 OR NEWER: THE TESTS WITH THE OFFICIAL CLIENTS WILL BE SKIPPED !!!'; fi
	@touch $@

run: setup ## Serve at http://127.0.0.1:3210
	$(BIN)/parley serve

psql: setup ## Open psql on the database
	$(BIN)/parley psql

doctor: setup ## Say what is wrong with the set-up
	$(BIN)/parley doctor

test: setup ## All tests; what depends on Postgres once more on the system's own, if it has one
	PYTHONASYNCIODEBUG=1 $(BIN)/pytest -n auto --dist loadfile
	@if $(BIN)/python -c 'from parley.store.hosting import find_system_binaries as f; print(f())'; \
	  then PARLEY_TEST_POSTGRES=system $(BIN)/pytest -n auto --dist loadfile $(ON_POSTGRES); \
	  else echo '!!! NO SYSTEM POSTGRES: TESTED ON THE EMBEDDED ONE ONLY !!!'; fi

test-fast: setup ## The tests without a database or a socket, in seconds
	$(BIN)/pytest tests/unit -n auto

faults: setup ## Break things for 3 minutes and check every answer (docs/reliability.md)
	$(BIN)/python -m tests.faults.soak --seed 1 --seconds 110 --round 25 --clients 16
	$(BIN)/python -m tests.faults.fuzz --seed 1 --frames 20000

soak: setup ## The same for MINUTES=60, with new seeds
	$(BIN)/python -m tests.faults.soak --seconds $$(( $(MINUTES) * 60 )) --round 90

check: fmt-check lint types layers spell test ## Everything that must hold before a merge

fmt: setup ## Format the code
	$(BIN)/ruff format $(PATHS)
	$(BIN)/ruff check --fix $(PATHS)

fmt-check: setup
	$(BIN)/ruff format --check $(PATHS)

lint: setup ## Lint
	$(BIN)/ruff check $(PATHS)

types: setup ## Check the types
	$(BIN)/mypy

layers: setup ## Check that imports go down the layers
	$(BIN)/lint-imports

spell: setup ## Check the spelling
	$(BIN)/codespell

lock: setup ## Write the versions in .venv into requirements.lock
	@{ head -n 1 requirements.lock; $(BIN)/pip freeze --exclude-editable \
	  --exclude pip --exclude setuptools; } > requirements.new && mv requirements.new requirements.lock

clean: ## Remove what the tools made; .venv and the data in .parley stay
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage build dist
	find $(PATHS) -name __pycache__ -prune -exec rm -rf {} +
