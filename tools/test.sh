#!/usr/bin/env bash
# The whole suite: most of it in parallel, then what starts whole installations, one at a time; then everything that
# touches the database again on PostgreSQL, on a cluster that the tests start and remove.
set -euo pipefail
cd "$(dirname "$0")/.."
workers=${FORESTALL_TEST_WORKERS:-2}
.venv/bin/pytest -q -n "$workers" --dist loadgroup -m "not soak and not serial" "$@"
.venv/bin/pytest -q -m "serial and not soak" "$@"
FORESTALL_API_EXAMPLES=${FORESTALL_API_EXAMPLES_POSTGRESQL:-4} \
  .venv/bin/pytest -q -n "$workers" --dist loadgroup --database postgresql -m "not soak and not serial and not browser" "$@"
.venv/bin/pytest -q --database postgresql -m "serial and not soak" "$@"
