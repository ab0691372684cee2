# Every command a person needs. `make help` lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin

.PHONY: help setup up test coverage lint bench soak lock format clean

help:  ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{ printf "  make %-8s %s\n", $$1, $$2 }'

setup:  ## Make .venv with .venv/bin/forestall; start nothing
	@tools/setup.sh product

up: setup  ## Set up and run Forestall on this machine; console on http://127.0.0.1:8420
	@exec $(BIN)/forestall up

test:  ## Set up what the tests need, then run the whole suite
	@tools/setup.sh tests
	@tools/test.sh

coverage:  ## Branch coverage of trust, ledger, verifier and authorisation: 100 % or it fails
	@tools/setup.sh tests
	@tools/coverage.sh

lint:  ## Formatting, lint, types, import layers
	@tools/setup.sh development
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

bench:  ## Measure agent, intake, console and start, side by side with the peers that are installed
	@tools/setup.sh tests
	$(BIN)/python -m bench.run

soak:  ## The long campaigns (hours)
	@tools/setup.sh tests
	$(BIN)/pytest -q -m soak --timeout 7200
	FORESTALL_API_EXAMPLES=200 $(BIN)/pytest -q -n 2 src/forestall/server/api/tests/test_schemathesis.py

format:  ## Format the code
	@tools/setup.sh development
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock:  ## Write the hashed locks anew (needs uv)
	tools/lock.sh

clean:  ## Remove what setup and builds made; your data folder is not touched
	rm -rf $(VENV) .cache dist src/forestall/server/console/static/forestall/bundle
