"""`airgap send` beside the stock `sftp` and `scp`: `python -m tests.bench.ssh [--rounds N] [--hosts N]`.

A bundle of 1 GB (ten layers, of 250 to 25 MB) goes to an OpenSSH server on loopback, to an empty folder each
time, or to several at a time: by one `airgap send`, and by one `sftp` or `scp` for each host in parallel.
Measured are whole processes, in turns; the figures are ratios of the medians. The processor time includes the
servers. The peers only copy; airgap also syncs each file, and has the far side hash it. So the peers stand
there once more with `sha256sum` of all files on the far side after the copy, and a sync. `--folder` may be on
a tmpfs, to leave the disk out; `--scale` changes the size of the bundle, and `--tree` also measures the airgap
of another working tree. Nothing here fails because of a figure.
"""

import argparse
import contextlib
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.bench.measure import processor, tree
from tests.support.images import Layer, make_image, noise, write_layout
from tests.support.parts import require_tool, run
from tests.support.sshd import Sshd, make_key

LAYERS = [250, 150, 150, 100, 100, 75, 75, 50, 25, 25]
"""Their sizes in MB."""
PASSPHRASE = {"AIRGAP_PASSPHRASE": "only for this measurement"}


ROOT = Path(__file__).parents[2]


def airgap(home: Path, *words: str | Path, root: Path = ROOT) -> None:
    run(
        sys.executable,
        *("-P", "-m", "airgap", *words, "--quiet"),
        env={"AIRGAP_HOME": str(home), "PYTHONPATH": str(root), **PASSPHRASE},
        timeout=3600,
    )


def make_bundle(folder: Path, scale: float) -> Path:
    """Packed by the command itself."""
    sizes = [int(mb * 1_000_000 * scale) for mb in LAYERS]
    layers = [Layer.of({"noise": noise(size, size + i)}, "none") for i, size in enumerate(sizes)]
    write_layout(folder / "layout", {"example.com/large:1": make_image(layers)})
    (folder / "stack.yaml").write_text("version: 1\nname: large\nimages:\n  - {oci: layout}\n")
    run(sys.executable, "-m", "airgap", "init", "--owner", "alice", "--site", "hq",
        env={"AIRGAP_HOME": str(folder / "home"), **PASSPHRASE})  # fmt: skip
    airgap(folder / "home", "pack", folder / "stack.yaml", "--to", folder / "stick")
    shutil.rmtree(folder / "layout")
    return folder / "stick" / "large-0001"


class Race:
    """Some servers, and who brings the bundle there."""

    def __init__(self, folder: Path, hosts: int, scale: float, stack: contextlib.ExitStack) -> None:
        self.folder = folder
        self.bundle = make_bundle(folder, scale)
        self.key = make_key(folder / "id")
        self.servers = [
            stack.enter_context(Sshd(folder / f"far{number}", self.key)) for number in range(hosts)
        ]
        self.known = folder / "known_hosts"
        self.known.write_text("".join(server.known_line for server in self.servers))
        self.common = [
            "-F", "none", "-o", f"UserKnownHostsFile={self.known}", "-o", "IdentitiesOnly=yes", "-i", str(self.key),
        ]  # fmt: skip

    def airgap(self, root: Path) -> None:
        airgap(
            self.folder / "home", "send", self.bundle, *(server.address for server in self.servers),
            "--to", "arrived", "--identity", self.key, "--known-hosts", self.known,
            "--ssh-config", "/dev/null", root=root,
        )  # fmt: skip

    def sftp(self, server: Sshd) -> None:
        line = f"put -R {self.bundle} {server.home}/arrived/\n".encode()
        words = ("-P", str(server.port), "-b", "-", "root@127.0.0.1")
        run(require_tool("sftp"), "-q", *self.common, *words, input=line, timeout=3600)

    def scp(self, server: Sshd) -> None:
        run(require_tool("scp"), "-q", "-r", *self.common, "-P", str(server.port), self.bundle,
            f"root@127.0.0.1:{server.home}/arrived/", timeout=3600)  # fmt: skip

    def prove(self, server: Sshd) -> None:
        command = (
            f"cd {server.home}/arrived/{self.bundle.name} && sha256sum --quiet -c SHA256SUMS && sync -f ."
        )
        words = ("-p", str(server.port), "root@127.0.0.1", command)
        run(require_tool("ssh"), "-q", *self.common, *words, timeout=3600)

    def measure(self, steps: Sequence[str | Path]) -> tuple[float, float]:
        """The seconds of these steps into empty folders, and those of all processors together. A step is the
        tree of an airgap, or a method that runs for each server in parallel.
        """
        for server in self.servers:
            shutil.rmtree(server.home / "arrived", ignore_errors=True)
            (server.home / "arrived").mkdir()
        os.sync()
        before, start = self._processor(), time.perf_counter()
        for step in steps:
            if isinstance(step, Path):
                self.airgap(step)
            else:
                with ThreadPoolExecutor(len(self.servers)) as pool:
                    list(pool.map(getattr(self, step), self.servers))
        return time.perf_counter() - start, self._processor() - before

    def _processor(self) -> float:
        own = resource.getrusage(resource.RUSAGE_CHILDREN)
        pids = [pid for server in self.servers for pid in tree(server.pid)]
        return own.ru_utime + own.ru_stime + processor(pids)


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.bench.ssh")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--hosts", type=int, default=1)
    parser.add_argument("--scale", type=float, default=1.0, help="times the size of the bundle")
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument(
        "--tree", type=Path, action="append", default=[], help="another working tree of airgap"
    )
    options = parser.parse_args()
    contenders: dict[str, tuple[str | Path, ...]] = {
        "airgap": (ROOT,),
        **{str(other): (other,) for other in options.tree},
        "sftp": ("sftp",),
        "scp": ("scp",),
        "sftp, then sha256sum": ("sftp", "prove"),
        "scp, then sha256sum": ("scp", "prove"),
    }
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    with (
        tempfile.TemporaryDirectory(prefix="airgap-ssh-", dir=options.folder) as name,
        contextlib.ExitStack() as stack,
    ):
        Path(name).chmod(0o755)
        race = Race(Path(name), options.hosts, options.scale, stack)
        for number in range(options.rounds + 1):  # the first one warms up
            for contender, steps in contenders.items():
                took = race.measure(steps)
                print(f"{contender}: {took[0]:.2f} s, {took[1]:.2f} CPU s", file=sys.stderr, flush=True)
                if number:
                    taken[contender].append(took)
    report(taken, sum(LAYERS) * options.scale, options)


def report(taken: dict[str, list[tuple[float, float]]], mb: float, options: argparse.Namespace) -> None:
    """Print a line for each contender."""
    ours = statistics.median(seconds for seconds, _ in taken["airgap"])
    version = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True).stderr.strip()
    print(
        f"{mb:,.0f} MB over loopback to {options.hosts} hosts, {version}, {os.cpu_count()} cores; "
        f"medians of {options.rounds}"
    )
    for contender, found in taken.items():
        median = statistics.median(seconds for seconds, _ in found)
        cpu = statistics.median(cpu for _, cpu in found)
        rate = mb * options.hosts / median
        print(
            f"{contender:24} {median:6.2f} s  {rate:6.0f} MB/s  {cpu:6.1f} CPU s   airgap / it {ours / median:5.2f}"
        )


if __name__ == "__main__":
    main()
