#!/usr/bin/env bash
# Write the hashed locks anew: requirements.lock (product) and requirements-dev.lock (product, tests, build).
set -euo pipefail
cd "$(dirname "$0")/.."
options=(--universal --generate-hashes --python-version 3.11 --no-header --no-annotate --no-emit-index-url --no-emit-find-links --quiet)
uv pip compile "${options[@]}" --extra server --group build pyproject.toml -o requirements.lock "$@"
uv pip compile "${options[@]}" --extra server --group build --group dev -c requirements.lock pyproject.toml -o requirements-dev.lock "$@"
