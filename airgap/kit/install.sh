#!/bin/sh
# Finds a Python that this kit is for and runs install.py with it: sh install.sh [--prefix DIR] [--key FILE]
# PYTHON names one to try first. The file VERIFY.txt beside this one is to be read before.
set -u
here=$(CDPATH= cd -- "$(dirname -- "$0")" && pwd) || exit 1
# what a Python lacks that was packaged in parts, as Debian's python3-minimal
modules='ctypes, fcntl, json, shutil, ssl, venv, zlib'

found= parts=
for python in ${PYTHON:+"$PYTHON"} python3 python3.14 python3.13 python3.12 python3.11 /usr/bin/python3; do
    version=$("$python" -I -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null) || continue
    for list in "$here"/requirements/*-py"$version".txt; do
        [ -f "$list" ] || continue
        if "$python" -I -c "import $modules" >/dev/null 2>&1; then exec "$python" -I -B "$here/install.py" "$@"; fi
        parts=$python
    done
    case "$found " in
    *" $version "*) ;;
    *) found="$found $version" ;;
    esac
done

if [ -n "$parts" ]; then
    lacks=
    IFS=', '
    for module in $modules; do
        "$parts" -I -c "import $module" >/dev/null 2>&1 || lacks="$lacks $module"
    done
    echo "error: $parts lacks some of its standard library: want $modules, lacks$lacks" >&2
    echo 'hint: install all of it (Debian and Ubuntu: the packages python3 and python3-venv; a Python built from source' \
        'lacks what it found no headers for, such as those of OpenSSL and zlib), or name another one: PYTHON=... sh install.sh' >&2
    exit 1
fi
wanted=
for list in "$here"/requirements/*-py*.txt; do
    version=${list##*-py}
    wanted="$wanted ${version%.txt}"
done
echo "error: no Python here that this kit is for: want$wanted, got${found:- none}" >&2
echo 'hint: install one of these, or make a kit for the one there is: airgap kit --python ...' >&2
exit 1
