"""`airgap send` beside the stock `sftp` and `scp`: `python -m tests.bench.ssh [--rounds N] [--folder DIR]`.

A bundle of 1 GB (ten layers, of 250 to 25 MB) goes to an OpenSSH server on loopback, to an empty folder each
time. Measured are whole processes, in turns; the figures are ratios of the medians. The peers only copy;
airgap also hashes every byte before it sends it, syncs each file, and has the far side hash it. So the
peers stand there once more with `sha256sum` of all files on the far side after the copy, and a sync.
`--folder` may be on a tmpfs, to leave the disk out. Nothing here fails because of a figure.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.support.images import Layer, make_image, noise, write_layout
from tests.support.parts import require_tool, run
from tests.support.sshd import Sshd, make_key

LAYERS = [250, 150, 150, 100, 100, 75, 75, 50, 25, 25]
"""Their sizes in MB."""
PASSPHRASE = {"AIRGAP_PASSPHRASE": "only for this measurement"}


def airgap(home: Path, *words: str | Path) -> None:
    run(
        sys.executable,
        "-m",
        "airgap",
        *words,
        "--quiet",
        env={"AIRGAP_HOME": str(home), **PASSPHRASE},
        timeout=600,
    )


def make_bundle(folder: Path) -> Path:
    """Packed by the command itself."""
    layers = [Layer.of({"noise": noise(mb * 1_000_000, mb + i)}, "none") for i, mb in enumerate(LAYERS)]
    write_layout(folder / "layout", {"example.com/large:1": make_image(layers)})
    (folder / "stack.yaml").write_text("version: 1\nname: large\nimages:\n  - {oci: layout}\n")
    run(sys.executable, "-m", "airgap", "init", "--owner", "alice", "--site", "hq",
        env={"AIRGAP_HOME": str(folder / "home"), **PASSPHRASE})  # fmt: skip
    airgap(folder / "home", "pack", folder / "stack.yaml", "--to", folder / "stick")
    shutil.rmtree(folder / "layout")
    return folder / "stick" / "large-0001"


class Race:
    """One server, and who brings the bundle there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.bundle = make_bundle(folder)
        self.key = make_key(folder / "id")
        self.sshd = Sshd(folder / "far", self.key)
        self.known = folder / "known_hosts"
        self.known.write_text(self.sshd.known_line)
        self.common = [
            "-F", "none", "-o", f"UserKnownHostsFile={self.known}", "-o", "IdentitiesOnly=yes", "-i", str(self.key),
        ]  # fmt: skip
        self.to = self.sshd.home / "arrived"

    def airgap(self) -> None:
        airgap(
            self.folder / "home", "send", self.bundle, self.sshd.address, "--to", str(self.to),
            "--identity", self.key, "--known-hosts", self.known, "--ssh-config", "/dev/null",
        )  # fmt: skip

    def sftp(self) -> None:
        line = f"put -R {self.bundle} {self.to}/\n".encode()
        run(
            require_tool("sftp"),
            "-q",
            *self.common,
            "-P",
            str(self.sshd.port),
            "-b",
            "-",
            "root@127.0.0.1",
            input=line,
        )

    def scp(self) -> None:
        run(require_tool("scp"), "-q", "-r", *self.common, "-P", str(self.sshd.port), self.bundle,
            f"root@127.0.0.1:{self.to}/")  # fmt: skip

    def prove(self) -> None:
        command = f"cd {self.to}/{self.bundle.name} && sha256sum --quiet -c SHA256SUMS && sync -f ."
        run(require_tool("ssh"), "-q", *self.common, "-p", str(self.sshd.port), "root@127.0.0.1", command)

    def time(self, *steps: str) -> float:
        """Seconds of these steps into an empty folder."""
        shutil.rmtree(self.to, ignore_errors=True)
        self.to.mkdir()
        os.sync()
        start = time.perf_counter()
        for step in steps:
            getattr(self, step)()
        return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser("python -m tests.bench.ssh")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--folder", type=Path, default=None)
    options = parser.parse_args()
    contenders = {
        "airgap": ("airgap",),
        "sftp": ("sftp",),
        "scp": ("scp",),
        "sftp, then sha256sum": ("sftp", "prove"),
        "scp, then sha256sum": ("scp", "prove"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    with tempfile.TemporaryDirectory(prefix="airgap-ssh-", dir=options.folder) as name:
        Path(name).chmod(0o755)
        race = Race(Path(name))
        try:
            for number in range(options.rounds + 1):  # the first one warms up
                for contender, steps in contenders.items():
                    took = race.time(*steps)
                    print(f"{contender}: {took:.2f} s", file=sys.stderr, flush=True)
                    if number:
                        seconds[contender].append(took)
        finally:
            race.sshd.stop()
    ours = statistics.median(seconds["airgap"])
    version = subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True).stderr.strip()
    print(f"{sum(LAYERS):,} MB over loopback, {version}, {os.cpu_count()} cores; medians of {options.rounds}")
    for contender, found in seconds.items():
        median = statistics.median(found)
        print(
            f"{contender:24} {median:6.2f} s  {sum(LAYERS) / median:6.0f} MB/s   airgap / it {ours / median:5.2f}"
        )


if __name__ == "__main__":
    main()
