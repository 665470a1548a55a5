"""A bare server: Debian 12 with Python, without pip, without a compiler and without a network."""

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.parts import SYSTEM_PATH, require, require_root
from tests.support.waits import GENEROUS

# /dev is the outer one, and /mnt the folder that plays the medium: read-only, as a careful person mounts it.
_ENTER = """
root=$1 stick=$2; shift 2
mount --bind "$root" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount --bind "$stick" "$root/mnt"
mount -o remount,bind,ro "$root/mnt"
exec chroot "$root" "$@"
"""
_APART = ("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "sh", "-ec", _ENTER, "enter")


@dataclass(frozen=True)
class Server:
    """A copy of the root; what is installed there stays until the test session ends."""

    root: Path

    def __call__(self, script: str, stick: Path) -> subprocess.CompletedProcess[str]:
        """Run a shell script as root, with `stick` at /mnt. Its exit code is for the caller to judge."""
        command = [*_APART, str(self.root), str(stick), "sh", "-ec", script]
        env = {"PATH": f"/usr/local/bin:{SYSTEM_PATH}", "HOME": "/root", "AIRGAP_PASSPHRASE": "correct horse"}
        return subprocess.run(
            command,
            env=env,
            check=False,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=GENEROUS,
        )


def copy_server(folder: Path) -> Server:
    """A server of its own in `folder`."""
    require_root()
    root = Path(os.environ.get("AIRGAP_TEST_CACHE") or "/var/cache/airgap-tests") / "server"
    require(root.is_dir(), f"no root of a bare server at {root} (tests/install.sh makes it)")
    shutil.copytree(root, folder / "server", symlinks=True, ignore=_devices)
    return Server(folder / "server")


def _devices(folder: str, names: list[str]) -> list[str]:
    return names if folder.endswith("/server/dev") else []
