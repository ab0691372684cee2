#!/usr/bin/env bash
# Branch coverage of what authority and evidence rest on: 100 %, or it fails. Takes about a minute.
set -euo pipefail
cd "$(dirname "$0")/.."
judged='src/forestall/trust/*,src/forestall/ledger/*,src/forestall/verify/*'
judged+=',src/forestall/agent/act/policy.py,src/forestall/agent/act/execute.py,src/forestall/agent/act/state.py'
judged+=',src/forestall/server/people/scope.py,src/forestall/server/people/roles.py'
tests=(
  src/forestall/trust src/forestall/ledger src/forestall/verify
  src/forestall/agent/act/tests/test_act_authority.py src/forestall/agent/act/tests/test_act_execute.py
  src/forestall/agent/act/tests/test_multi_step.py
  src/forestall/agent/act/tests/test_takeover_drill.py
  src/forestall/agent/act/tests/test_revocation_interleavings.py
  src/forestall/server/people/tests
)
COVERAGE_FILE=$(mktemp)
export COVERAGE_FILE
trap 'rm -f "$COVERAGE_FILE"' EXIT
failed=0
.venv/bin/coverage run --branch -m pytest -q -n 0 -m "not soak" -p no:cacheprovider "${tests[@]}" || failed=1
# __init__.py: names alone.
.venv/bin/coverage report --show-missing --fail-under=100 --precision=2 --include="$judged" \
  --omit='*/tests/*,*/__init__.py' --skip-covered
exit "$failed"
