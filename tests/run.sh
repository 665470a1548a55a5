#!/bin/sh
# Everything that must hold, in one command: sh tests/run.sh [pytest arguments]
#
# Sets up a virtual environment (.venv), starts ruff and mypy, and, meanwhile, installs the real parts that the
# end-to-end tests use where that is possible; then runs, side by side, pytest, and the unit, contract and cli tests
# on the newest Python that can be had; then judges the coverage. The last line is the one that pytest closes with.
# Coverage is what the unit, contract and cli tests reach on the newest Python, which measures it at no cost; where
# there is no other Python than ours, it is what all tests reach on that one, and takes twice as long.
# A real part that is missing skips its tests; with CI=true it fails them. With pytest arguments only pytest runs,
# and coverage is reported and not judged.
# PYTHON names the interpreter to use; AIRGAP_TEST_CACHE the folder that keeps the Debian sid root; AIRGAP_TEST_WORKERS
# says how many tests run at a time on each Python (by default as many as there are processors, and twice as many where
# the end-to-end tests are among them, as these wait for engines and servers more than half of their time).
set -u
cd "$(dirname "$0")/.." || exit 1

# Settings of pip and Python that would install or import somewhere else than in our environment.
unset PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON PIP_REQUIRE_VIRTUALENV PYTHONHOME PYTHONPATH VIRTUAL_ENV
# Without byte code every worker, and every command that a test starts, would compile all modules again.
unset PYTHONDONTWRITEBYTECODE PYTHONPYCACHEPREFIX
# Only what is imported is compiled: pip would compile all of what it installs, here and where a test runs it.
export PIP_COMPILE=0

python=.venv/bin/python
processors=$(getconf _NPROCESSORS_ONLN)
parallel='--maxprocesses 8 --max-worker-restart 1 --dist loadgroup --no-loadscope-reorder'
summary=
failed=0
jobs=

# begin NAME COMMAND...: runs it in the background; what it says and its exit code are kept for `finish`.
begin() {
    log=$work/$1
    shift
    { "$@" </dev/null >"$log" 2>&1; echo $? >"$log.code"; } &
    jobs="$jobs $!"
}

# stop PID...: ends them and what they have started.
stop() {
    while [ $# != 0 ]; do
        stop $(pgrep -P "$1")
        kill "$1" 2>/dev/null
        shift
    done
}

# note NAME CODE: how a step went; 77 is "cannot be done here", which is a failure with CI=true.
note() {
    case $2 in
    0) word=ok ;;
    77) if [ "${CI:-}" = true ]; then word=FAILED failed=1; else word=skipped; fi ;;
    *) word=FAILED failed=1 ;;
    esac
    summary="$summary$(printf '  %-7s %s' "$word" "$1")
"
}

# finish NAME TITLE: what a step in the background said, once all in the background have ended.
finish() {
    printf '\n== %s\n' "$2"
    cat "$work/$1"
    note "$2" "$(cat "$work/$1.code")"
}

# step NAME COMMAND...: runs it and notes how it went.
step() {
    name=$1
    shift
    printf '\n== %s\n' "$name"
    "$@" </dev/null
    note "$name" $?
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
    "$python" -m pip install --quiet --editable '.[test,judges]' && cp pyproject.toml .venv/pyproject.toml || return
    fresh=yes
}

# compile_tests: pytest keeps the byte code of the tests; workers that begin together would each compile all of it.
compile_tests() {
    "$python" -m pytest --collect-only --quiet </dev/null >/dev/null 2>&1
}

# real_parts WHICH: 77 where not all could be installed; the tests see for themselves what is there.
real_parts() {
    sh tests/install.sh "$1" || return 77
}

# lint: both that read the code only.
lint() {
    "$python" -m ruff check && "$python" -m ruff format --check && "$python" -m mypy
}

# suite ARGUMENTS: pytest; the end-to-end tests wait for the file that AIRGAP_TEST_ROOTS names.
suite() {
    { AIRGAP_TEST_ROOTS=$work/roots.code "$python" -m pytest -n "${AIRGAP_TEST_WORKERS:-$((2 * processors))}" $parallel "$@" \
        </dev/null; echo $? >"$work/pytest.code"; } |
        tee "$work/pytest"
    return "$(cat "$work/pytest.code")"
}

# newest: its Python is in one of the roots.
newest() {
    until [ -e "$work/roots.code" ]; do sleep 1; done
    sh tests/newest.sh --version || return
    COVERAGE_PROCESS_START=$PWD/pyproject.toml \
        sh tests/newest.sh -m pytest -q -p no:cacheprovider -n "${AIRGAP_TEST_WORKERS:-$processors}" $parallel \
        tests/unit tests/contract tests/cli
}

# threshold PERCENT PATTERNS: the coverage that the files must have.
threshold() {
    $measuring -m coverage report --include="$2" --fail-under="$1"
}

# Temporary files go into memory where there is room: the tests sync thousands of small files, and a slow disk makes
# them ten times slower. TMPDIR names another place.
if [ -z "${TMPDIR:-}" ] && [ "$(df -kP /dev/shm 2>/dev/null | awk 'NR == 2 { print $4 }')" -gt 8000000 ] 2>/dev/null; then
    TMPDIR=/dev/shm
    export TMPDIR
fi
work=$(mktemp -d) || exit 1
trap 'rm -rf "$work"' EXIT
trap 'stop $jobs; exit 130' INT TERM

begin packages real_parts packages
packages_job=$!
find_python >"$work/python" 2>&1 || wait # one of the packages has venv
fresh=no
step 'environment' environment
# What needs no packages fills the time until they are installed.
[ $# != 0 ] || begin lint lint
[ $# != 0 ] || [ $fresh = no ] || compile_tests
wait $packages_job
finish packages 'real parts: packages'
if ! "$python" -c 'import pytest, xdist, coverage'; then
    wait
    printf '\n== summary\n%s' "$summary"
    exit 1
fi
begin roots real_parts roots
# Processes find their way to coverage by COVERAGE_PROCESS_START, the workers of pytest too: its own start-up hook
# reads it.
export COVERAGE_FILE="$work/coverage" AIRGAP_TEST_SHARED="$work"
if [ $# = 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    measuring='sh tests/newest.sh'
    begin newest newest
else
    measuring=$python
    export COVERAGE_PROCESS_START="$PWD/pyproject.toml"
fi
step "pytest on Python $("$python" -c 'import platform; print(platform.python_version())')" suite "$@"
unset COVERAGE_PROCESS_START
wait
finish roots 'real parts: roots'
if [ $# = 0 ]; then
    finish lint 'ruff check, ruff format, mypy'
    if [ -e "$work/newest" ]; then
        finish newest "unit, contract and cli tests on $(grep -m 1 '^Python 3' "$work/newest")"
    else
        note 'unit, contract and cli tests on a newer Python: this needs root and apt-get' 77
    fi
fi
step 'coverage data' $measuring -m coverage combine --quiet
if [ $# = 0 ]; then
    begin all threshold 90 'airgap/*'
    begin core threshold 98 'airgap/trust/*,airgap/bundle/*,airgap/carry/verify*'
    wait
    finish all 'coverage of airgap >= 90 %'
    finish core 'coverage of trust, bundle and verify >= 98 %'
else
    $measuring -m coverage report
fi

printf '\n== summary\n%s\n' "$summary"
tail -n 1 "$work/pytest"
exit "$failed"
