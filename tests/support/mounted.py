"""A file system of the tests: a FUSE server in a process of its own, which writes down in the end what it holds."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.parts import SYSTEM_PATH, require, require_root, require_tool
from tests.support.waits import attempts

ENDING_SECONDS = 120.0
"""Until a server counts as broken that was told to end: it writes a few MB, and what holds its mount keeps it."""


class BrokenStickError(Exception):
    """The tests' own file system failed, so nothing is known of what was written to it."""


def require_fuse() -> None:
    """Skips, or with CI=true fails, where there is no FUSE."""
    require_root()
    require(Path("/dev/fuse").exists(), "no /dev/fuse")
    require_tool("fusermount3")


class Mounted:
    """The module's `serve(folder)` at a mount point, until `stop`."""

    def __init__(self, module: str, folder: Path, mount_point: Path) -> None:
        self.mount_point = mount_point
        self._log = folder / "log"
        with self._log.open("wb") as log:
            self.server = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", sys.executable, "-m", module, str(folder)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=Path(__file__).parents[2],
                env={"PATH": SYSTEM_PATH},
            )  # fmt: skip
        for _ in attempts():
            if os.path.ismount(mount_point):
                return
            if self.server.poll() is not None:
                break
        self._kill()
        raise self._broken("did not start")

    def stop(self) -> None:
        """Unmount, and wait until the server has written down what it holds.

        Raises `BrokenStickError` when it did not: it would look as if what was written had been lost.
        """
        gone = self.server.poll() is not None
        done = subprocess.run(["fusermount3", "-u", "-z", self.mount_point], check=False, capture_output=True)
        try:
            code = self.server.wait(ENDING_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise self._broken("did not end") from error
        finally:
            self._kill()
        if code:
            raise self._broken(f"ended with {code}")
        if (done.returncode and not gone) or os.path.ismount(self.mount_point):
            raise self._broken(f"is still mounted: {done.stderr.decode(errors='replace')}")

    def abandon(self) -> None:
        """Unmount and end the server at once, for a medium that nothing is written to. An engine that was
        started meanwhile may have the mount in a namespace of its own, and the server would not end by itself.
        """
        subprocess.run(["fusermount3", "-u", "-z", self.mount_point], check=False, capture_output=True)
        self._kill()

    def _kill(self) -> None:
        self.server.kill()
        self.server.wait()

    def _broken(self, what: str) -> BrokenStickError:
        return BrokenStickError(f"{self.mount_point} {what}\n{self._log.read_text(errors='replace')}")
