#!/bin/sh
# Makes the virtual environment $1 afresh and installs what requirements.lock pins, checked against its hashes.
# A bare Debian has a python3 without ensurepip: as root the missing package is installed, else the command is shown.
set -eu
cd "$(dirname "$0")/.."
venv=${1:?usage: make_venv.sh DIRECTORY}

is_new_enough() {
    command -v "$1" >/dev/null 2>&1 && "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

find_python() {
    for candidate in ${PYTHON:-} python3 python3.13 python3.12 python3.11; do
        if is_new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo "error: no Python 3.11 or newer found" >&2
    echo "hint: install one, or name it: make venv PYTHON=/path/to/python3" >&2
    return 1
}

install_ensurepip() {
    package=$("$1" -c 'import sys; print("python%d.%d-venv" % sys.version_info[:2])')
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        export DEBIAN_FRONTEND=noninteractive
        apt-get update -qq
        apt-get install -y -qq --no-install-recommends "$package" >/dev/null
    else
        echo "error: this Python can't make virtual environments" >&2
        echo "hint: sudo apt-get install -y $package" >&2
        return 1
    fi
}

python=$(find_python)
"$python" -c 'import ensurepip, venv' 2>/dev/null || install_ensurepip "$python"
"$python" -m venv --clear "$venv"
# Wheels only: nothing of the lock is ever compiled here, so no compiler and no headers are needed.
"$venv/bin/python" -m pip install -qq --disable-pip-version-check --require-hashes --only-binary=:all: \
    --requirement requirements.lock
