#!/bin/sh
# Everything that must hold, in one command: sh tests/run.sh [pytest arguments]
#
# Sets up a virtual environment (.venv), installs the real parts that the end-to-end tests use where that is
# possible, then runs ruff, mypy, pytest and the coverage thresholds. A real part that is missing skips its
# tests; with CI=true it fails them. With pytest arguments, coverage is reported and not judged.
# PYTHON names the interpreter to use; AIRGAP_TEST_CACHE the folder that keeps the Debian sid root.
set -u
cd "$(dirname "$0")/.." || exit 1

# Settings of pip and Python that would install or import somewhere else than in our environment.
unset PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON PIP_REQUIRE_VIRTUALENV PYTHONHOME PYTHONPATH VIRTUAL_ENV

python=.venv/bin/python
summary=
failed=0

# step NAME COMMAND...: runs it and notes how it went.
step() {
    name=$1
    shift
    printf '\n== %s\n' "$name"
    if "$@" </dev/null; then
        summary="$summary  ok      $name
"
    else
        failed=1
        summary="$summary  FAILED  $name
"
    fi
}

new_enough() { "$1" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    for candidate in ${PYTHON:-} python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do
        if new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    echo 'error: no Python >= 3.11 with venv found' >&2
    echo 'hint: install python3 and python3-venv, or name one in PYTHON' >&2
    return 1
}

# The environment is kept while it works and pyproject.toml is the one it was made from.
environment() {
    if ! new_enough "$python"; then
        found=$(find_python) && "$found" -m venv --clear .venv || return
    fi
    cmp -s pyproject.toml .venv/pyproject.toml && return
    "$python" -m pip install --quiet --editable '.[test]' && cp pyproject.toml .venv/pyproject.toml
}

# threshold PERCENT PATTERNS: the coverage that the files must have.
threshold() {
    "$python" -m coverage report --include="$2" --fail-under="$1"
}

work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM

# Subprocesses find their way to coverage by these two: its own start-up hook reads them.
COVERAGE_FILE=$work/coverage
COVERAGE_PROCESS_START=$PWD/pyproject.toml

step 'real parts' sh tests/install.sh
if [ "$failed" = 1 ] && [ "${CI:-}" != true ]; then
    failed=0
    summary='  skipped real parts: not all could be installed
'
fi
step 'environment' environment
if ! "$python" -c 'import pytest, coverage'; then
    printf '\n%s' "$summary"
    exit 1
fi
step 'ruff check' "$python" -m ruff check
step 'ruff format' "$python" -m ruff format --check
step 'mypy' "$python" -m mypy
export COVERAGE_FILE COVERAGE_PROCESS_START
step 'pytest' "$python" -m coverage run -m pytest "$@"
step 'coverage data' "$python" -m coverage combine --quiet
if [ $# = 0 ]; then
    step 'coverage of airgap >= 90 %' threshold 90 'airgap/*'
    step 'coverage of trust, bundle and verify >= 98 %' threshold 98 'airgap/trust/*,airgap/bundle/*,airgap/offline/verify*'
else
    "$python" -m coverage report
fi

printf '\n== summary\n%s' "$summary"
exit "$failed"
