#!/bin/sh
# Writes requirements.lock: every package of the project, of its development tools and of its build backend, pinned with
# hashes, for every Python from 3.11 on and every platform (markers). Names no index, so mirrors work. Beside it what
# `make simulate PLOTS=DIR` draws with.
# LOCK_ARGS=--upgrade takes newer releases within pyproject's ranges; without it what is pinned stays.
set -eu
cd "$(dirname "$0")/.."
venv=${1:?usage: make_lock.sh VENV}
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
"$venv/bin/python" -m venv "$tools/venv"
"$tools/venv/bin/python" -m pip install -qq --disable-pip-version-check uv
compile() {
    "$tools/venv/bin/uv" pip compile --quiet --no-python-downloads --system-certs --cache-dir "$tools/cache" \
        --universal --python-version 3.11 --generate-hashes --no-annotate --custom-compile-command 'make lock' "$@"
}
# shellcheck disable=SC2086 # LOCK_ARGS is a list of words
compile --group dev --group build ${LOCK_ARGS:-} pyproject.toml --output-file requirements.lock
# What draws the plots is no tool of every day, and large: a file of its own, which nobody else installs.
# shellcheck disable=SC2086 # as above
compile --group plots ${LOCK_ARGS:-} --output-file bench/simulation/requirements.txt
"$venv/bin/python" -m pytest -q tests/test_lock.py
