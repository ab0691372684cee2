#!/usr/bin/env bash
# The whole suite: most of it in parallel, then what starts whole installations, one at a time.
set -euo pipefail
cd "$(dirname "$0")/.."
.venv/bin/pytest -q -n "${FORESTALL_TEST_WORKERS:-2}" --dist loadgroup -m "not soak and not serial" "$@"
.venv/bin/pytest -q -m "serial and not soak" "$@"
