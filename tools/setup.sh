#!/usr/bin/env bash
# Make .venv and install the locked dependencies. Usage: tools/setup.sh product|development|tests
#
#   product      what `make up` needs
#   development  and what lint needs
#   tests        and the system programs the suite runs against (as root; without root they are listed)
#
# Running it again costs a second: each part leaves a stamp that names the lock it was made from.
set -euo pipefail
cd "$(dirname "$0")/.."
what=${1:?product, development or tests}
say() { printf '%s\n' "$*" >&2; }

find_python() {
  local candidate
  for candidate in "${PYTHON:-}" python3 python3.13 python3.12 python3.11; do
    [ -n "$candidate" ] && command -v "$candidate" >/dev/null 2>&1 || continue
    "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo "$candidate"; return; }
  done
  return 1
}

apt_install() {
  # One apt at a time, and the lists fetched once a day at most.
  if [ -z "$(find /var/lib/apt/lists -maxdepth 1 -name '*Packages*' -mtime -1 -print -quit 2>/dev/null)" ]; then
    DEBIAN_FRONTEND=noninteractive apt-get update -qq -o DPkg::Lock::Timeout=300
  fi
  # policy-rc.d: packages that the tests need must not start services of their own on this machine.
  local guard=/usr/sbin/policy-rc.d made=
  if [ ! -e "$guard" ]; then printf '#!/bin/sh\nexit 101\n' >"$guard"; chmod +x "$guard"; made=yes; fi
  local failed=
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends -o DPkg::Lock::Timeout=300 "$@" >/dev/null || failed=yes
  [ -n "$made" ] && rm -f "$guard"
  [ -z "$failed" ]
}

python=$(find_python) || {
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    say "Installing python3 and python3-venv…"
    apt_install python3 python3-venv
    python=$(find_python) || { say "This system's Python is older than 3.11. Install Python 3.11 or newer and run again."; exit 1; }
  else
    say "Python 3.11 or newer is needed. On Debian: apt-get install python3 python3-venv"
    exit 1
  fi
}

if [ ! -x .venv/bin/python ] || ! .venv/bin/python -c '' 2>/dev/null; then
  rm -rf .venv
  if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
      say "Installing python3-venv…"
      apt_install python3-venv
    else
      say "Python's venv module is missing. On Debian: apt-get install python3-venv"
      exit 1
    fi
  fi
  say "Making .venv…"
  "$python" -m venv .venv
fi

install() { # lock, name of the stamp
  local stamp=.venv/.forestall-$2 wanted
  wanted=$(sha256sum "$1" pyproject.toml frontend/hatch_build.py frontend/package-lock.json 2>/dev/null | sha256sum)
  [ -f "$stamp" ] && [ "$(cat "$stamp")" = "$wanted" ] && return
  say "Installing locked dependencies ($1)…"
  .venv/bin/pip install --quiet --disable-pip-version-check --require-hashes -r "$1"
  say "Installing forestall…"
  .venv/bin/pip install --quiet --disable-pip-version-check --no-build-isolation --no-deps -e .
  echo "$wanted" >"$stamp"
}

case $what in
  product) if [ -f .venv/.forestall-development ]; then install requirements-dev.lock development; else install requirements.lock product; fi ;;
  development | tests) install requirements-dev.lock development ;;
  *) say "setup: $what is none of product, development, tests"; exit 2 ;;
esac

if [ "$what" = tests ]; then
  missing=()
  for package in $(grep -vE '^\s*(#|$)' tools/test-programs.txt); do
    dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'install ok installed' || missing+=("$package")
  done
  if [ ${#missing[@]} -gt 0 ]; then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
      say "Installing programs the tests run against: ${missing[*]}…"
      apt_install "${missing[@]}"
    else
      say "Tests that need these programs are skipped (not root): ${missing[*]}"
    fi
  fi
fi
