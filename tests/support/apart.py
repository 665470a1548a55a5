"""Engines apart from the machine: in mount and process namespaces of their own, which end with them."""

import os
import tempfile
from pathlib import Path

APART = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec")
"""Namespaces of its own for the shell script that follows; killed together with the process that asked."""

FORGET_FUSE = """
for point in $(sed -n 's/^[^ ]* [^ ]* [^ ]* [^ ]* \\([^ ]*\\) .* - fuse.*/\\1/p' /proc/self/mountinfo); do
    umount -l "$point" 2>/dev/null || :
done
"""
"""The namespace of what lives long must not hold the FUSE mounts of other tests, or their servers would not end."""

_ON_HOST = f'{FORGET_FUSE}mount -t proc proc /proc; mount -t tmpfs tmpfs /run; exec "$@"'


def on_host(*argv: str | Path) -> list[str]:
    """The command line that runs this machine's own `argv` apart; /run is empty, so that it finds no engine there."""
    return [*APART, _ON_HOST, "apart", *map(str, argv)]


def short_folder() -> Path:
    """A new folder whose name is short: a socket's path must stay below 108 bytes."""
    return Path(os.path.realpath(tempfile.mkdtemp(prefix="airgap-")))
