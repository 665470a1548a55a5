"""Debian sid's tools and engines, run out of a root of their own that tests/install.sh makes.

Each command gets a mount and a process namespace for itself. What it mounts and starts is gone when it
ends, or when it is killed, and is never seen outside.
"""

import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.apart import APART, FORGET_FUSE
from tests.support.parts import SYSTEM_PATH, require, require_root, run

# The bind mount of the root on itself makes it a mount point: dockerd remounts "/" when it unpacks layers.
# /run is empty so that no engine of the machine is found there.
_ENTER = """
root=$1 shared=$2; shift 2
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
mkdir -p "$root$shared"
mount --rbind "$shared" "$root$shared"
exec chroot "$root" "$@"
"""


def sid_root() -> Path:
    """The root's folder; a test that needs it is skipped where there is none."""
    require_root()
    root = Path(os.environ.get("AIRGAP_TEST_CACHE") or "/var/cache/airgap-tests") / "sid"
    require(root.is_dir(), f"no Debian sid root at {root} (tests/install.sh makes it)")
    return root


def inside(root: Path, *argv: str | Path, lives_long: bool = False) -> list[str]:
    """The command line that runs `argv` in `root`, where the temporary folder is the one outside."""
    shared = os.path.realpath(tempfile.gettempdir())
    script = FORGET_FUSE + _ENTER if lives_long else _ENTER
    return [*APART, script, "enter", str(root), shared, *map(str, argv)]


@dataclass(frozen=True)
class Sid:
    """Runs a tool of the root: `sid("crane", "digest", reference)`.

    Paths below the temporary folder are the same inside and outside; the working folder is "/".
    """

    root: Path

    def __call__(
        self,
        *argv: str | Path,
        input: bytes | None = None,  # noqa: A002 - subprocess's own word
        env: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[bytes]:
        return run(*inside(self.root, *argv), input=input, env={"PATH": SYSTEM_PATH, **(env or {})})
