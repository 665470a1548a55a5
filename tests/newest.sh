#!/bin/sh
# The unit, contract and cli tests on the newest Python that can be had here: Debian sid's, in the root that
# tests/install.sh makes. What they need comes from pip as wheels; their environment is kept beside the root.
# The first line of output names the Python. Exit code 77: there is no such Python here.
set -eu
cd "$(dirname "$0")/.."
cache=${AIRGAP_TEST_CACHE:-/var/cache/airgap-tests}
root=$cache/sid
work=${AIRGAP_NEWEST_WORK:-}

# In a mount namespace of its own: our folders are in the root at the places that they have outside.
if [ -n "$work" ]; then
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs tmpfs "$root/run"
    touch "$root/etc/hosts"
    mount --bind /etc/hosts "$root/etc/hosts"
    for folder in "$PWD" "$work" "$environment"; do
        mkdir -p "$root$folder"
        mount --bind "$folder" "$root$folder"
    done
    exec chroot "$root" sh -eu -c '
        cd "$1"
        export TMPDIR="$2" HOME=/root
        if ! cmp -s pyproject.toml "$3/pyproject.toml"; then
            python3 -m venv --clear "$3"
            "$3/bin/python" -m pip --isolated install --quiet --no-index --find-links "$2/wheels" hatchling editables
            "$3/bin/python" -m pip --isolated install --quiet --no-index --find-links "$2/wheels" --no-build-isolation --editable ".[test]"
            cp pyproject.toml "$3/pyproject.toml"
        fi
        shift 3
        exec "$environment/bin/python" -m pytest -p no:cacheprovider -q "$@"
    ' sh "$PWD" "$work" "$environment" "$@"
fi

if [ "$(id -u)" != 0 ] || [ ! -x "$root/usr/bin/python3" ]; then
    echo 'none: this needs root, and the Debian sid root that tests/install.sh makes'
    exit 77
fi
version=$(chroot "$root" python3 -c 'import platform; print(platform.python_version())')
echo "Python $version"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
environment=$cache/python$version
mkdir -p "$environment"
if ! cmp -s pyproject.toml "$environment/pyproject.toml"; then
    .venv/bin/python -m pip download --quiet --dest "$work/wheels" --python-version "${version%.*}" \
        --only-binary=:all: '.[test]' hatchling editables
fi
export environment
AIRGAP_NEWEST_WORK=$work unshare --mount --pid --fork --kill-child sh "$0" "$@" </dev/null
