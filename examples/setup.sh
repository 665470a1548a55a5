# Common to the examples, which read it with `.`: a virtual environment with airgap, a folder for the run,
# and a few words to tell the story with. Everything is made in .quickstart, or in QUICKSTART_DIR.
# PYTHON names the interpreter to use.

here=${QUICKSTART_DIR:-$repository/.quickstart}
python=$here/venv/bin/python

# Settings that would install or import somewhere else than in our environment.
unset PIP_USER PIP_TARGET PIP_PREFIX PIP_ROOT PIP_PYTHON PIP_REQUIRE_VIRTUALENV PYTHONHOME PYTHONPATH VIRTUAL_ENV

say() { printf '\n== %s\n' "$*"; }

fail() {
    printf '\nFAILED: %s\n' "$*" >&2
    exit 1
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

# Made once, and again when what airgap needs has changed.
environment() {
    if new_enough "$python" && cmp -s "$repository/pyproject.toml" "$here/venv/pyproject.toml"; then
        return
    fi
    found=$(find_python) || exit 1
    say "Installing airgap into $here/venv (once)"
    mkdir -p "$here"
    echo '*' > "$here/.gitignore"
    "$found" -m venv --clear "$here/venv"
    "$python" -m pip install --quiet --editable "$repository"
    cp "$repository/pyproject.toml" "$here/venv/pyproject.toml"
}

# run_folder NAME: an empty folder for this run; the last one's is cleared away.
run_folder() {
    mkdir -p "$here"
    rm -rf "${here:?}/$1"
    mkdir "$here/$1"
    cd "$here/$1"
}

exec 3>&1 # what a person sees, also from commands whose output is kept

# side NAME airgap ARGUMENTS...: runs airgap as this side, which has a home of its own.
side() {
    AIRGAP_HOME=$PWD/home-$1
    export AIRGAP_HOME
    name=$1
    shift
    printf '%s $ %s\n' "$name" "$*" >&3
    shift
    "$here/venv/bin/airgap" "$@"
}

online() { side online "$@"; }
offline() { side offline "$@"; }

# keep FILE COMMAND...: runs it, shows what it says, and keeps that in FILE.
keep() {
    kept=$1
    shift
    "$@" > "$kept"
    cat "$kept"
}

# refused CODE COMMAND...: the command must fail with this exit code.
refused() {
    wanted=$1
    shift
    code=0
    "$@" || code=$?
    printf '(exit code %s)\n' "$code"
    [ "$code" = "$wanted" ] || fail "wanted exit code $wanted, got $code: $*"
}

# says FILE TEXT: the text must be in the file.
says() { grep -qF -e "$2" "$1" || fail "$1 does not say: $2"; }
