#!/bin/sh
# The newest Python that can be had here: Debian sid's, in the root that tests/install.sh makes, with what the tests
# need. Runs it in our folder with the given words, like
#
#     sh tests/newest.sh -m pytest tests/unit
#
# What it needs comes from pip as wheels; its environment is kept beside the root. AIRGAP_TEST_SHARED names a further
# folder that it sees. Exit code 77: there is no such Python here.
set -eu
cd "$(dirname "$0")/.."
cache=${AIRGAP_TEST_CACHE:-/var/cache/airgap-tests}
root=$cache/sid

if [ "${1:-}" = inside ]; then
    # In a mount namespace of its own: our folders are in the root at the places that they have outside.
    shift
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/run"
    touch "$root/etc/hosts"
    mount --bind /etc/hosts "$root/etc/hosts"
    for folder in "$PWD" "$environment" ${AIRGAP_TEST_SHARED:+"$AIRGAP_TEST_SHARED"}; do
        mkdir -p "$root$folder"
        mount --bind "$folder" "$root$folder"
    done
    wheels=${work#"$root"}/wheels
    case ${TMPDIR:-} in
    /dev/shm*) ;; # in memory, and in the root too
    *) TMPDIR=${work#"$root"} ;;
    esac
    export TMPDIR wheels HOME=/root
    exec chroot "$root" sh -euc '
        cd "$1"
        shift
        if ! cmp -s pyproject.toml "$environment/pyproject.toml"; then
            python3 -m venv --clear "$environment"
            pip="$environment/bin/python -m pip --isolated install --quiet --no-compile --no-index --find-links $wheels"
            $pip hatchling editables
            $pip --no-build-isolation --editable ".[test]"
            cp pyproject.toml "$environment/pyproject.toml"
        fi
        exec "$environment/bin/python" "$@"
    ' sh "$PWD" "$@"
fi

if [ "$(id -u)" != 0 ] || [ ! -x "$root/usr/bin/python3" ]; then
    echo 'no newer Python: this needs root, and the Debian sid root that tests/install.sh makes'
    exit 77
fi
version=$(chroot "$root" python3 -c 'import platform; print(platform.python_version())')
work=$(mktemp -d "$root/tmp/airgap.XXXXXX") # the root's own: tests ask which file system it is on
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
environment=$cache/python$version
mkdir -p "$environment"
if ! cmp -s pyproject.toml "$environment/pyproject.toml"; then
    .venv/bin/python -m pip download --quiet --dest "$work/wheels" --python-version "${version%.*}" \
        --only-binary=:all: '.[test]' hatchling editables
fi
export work environment
unshare --mount --pid --fork --kill-child sh "$0" inside "$@" </dev/null
