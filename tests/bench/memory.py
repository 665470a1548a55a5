"""Peak memory and disk of the main job with one large layer: `python -m tests.bench.memory`.

An image whose only layer has 2 GB is served by a registry on loopback, packed, and loaded into an OCI
folder and, where Docker 20.10 is installed and this is root, into an engine. Every command is a process of
its own, whose peak memory the kernel tells. Fails when one needs 150 MB or more, or when the bundle's
folder at its peak holds 8 MiB more than in the end: then something was copied on the way.
"""

import argparse
import contextlib
import hashlib
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from airgap.bundle.tar_entries import END_OF_ARCHIVE, header, padding
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_CONFIG, OCI_LAYER_TAR, OCI_MANIFEST, Descriptor
from tests.support.engines import start_docker20
from tests.support.images import Image, noise, write_layout

MAX_RSS = 150_000_000
MAX_EXTRA_DISK = 8 << 20
BLOCK = noise(1 << 20, 1)
REPOSITORY = "acme/large"


@dataclass(frozen=True)
class Cost:
    """What one command took."""

    seconds: float
    rss: int
    """Peak of resident memory in bytes."""
    peak_disk: int
    """The most that the watched folder held at a time, in bytes."""


def write_image(folder: Path, mebibytes: int) -> None:
    """An OCI layout with one image of one layer, a tar that is not compressed."""
    size = mebibytes << 20
    hasher = hashlib.sha256()
    folder.mkdir()
    with (folder / "layer").open("wb") as file:
        for part in (header("large.bin", size), *[BLOCK] * mebibytes, padding(size), END_OF_ARCHIVE):
            hasher.update(part)
            file.write(part)
        total = file.tell()
    layer = Descriptor(OCI_LAYER_TAR, Digest("sha256", hasher.hexdigest()), total)
    rootfs = {"type": "layers", "diff_ids": [str(layer.digest)]}
    config = json.dumps({"architecture": "amd64", "os": "linux", "rootfs": rootfs}).encode()
    manifest = json.dumps(
        {
            "schemaVersion": 2,
            "mediaType": OCI_MANIFEST,
            "config": Descriptor(OCI_CONFIG, Digest.of(config), len(config)).to_json(),
            "layers": [layer.to_json()],
        }
    ).encode()
    root = Descriptor(OCI_MANIFEST, Digest.of(manifest), len(manifest))
    contents = {root.digest: manifest, Digest.of(config): config}
    write_layout(folder, {f"example.com/{REPOSITORY}:1": Image(root, manifest, contents)})
    (folder / "layer").replace(folder / layer.digest.path)


def held(folder: Path) -> int:
    """Bytes of disk that the files below take."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):  # renamed meanwhile
            total += path.lstat().st_blocks * 512
    return total


class Watch(threading.Thread):
    """Looks at a folder every few milliseconds."""

    def __init__(self, folder: Path) -> None:
        super().__init__(daemon=True)
        self._folder = folder
        self._over = threading.Event()
        self.peak = 0

    def run(self) -> None:
        while not self._over.wait(0.02):
            self.peak = max(self.peak, held(self._folder))

    def stop(self) -> int:
        self._over.set()
        self.join()
        return self.peak


def cost_of(home: Path, watched: Path, *words: object) -> Cost:
    """Run a command to its end. The memory of this process counts as well, since the other one is forked
    from it; it is less than the command's own.
    """
    env = {**os.environ, "AIRGAP_HOME": str(home), "AIRGAP_PASSPHRASE": "bench"}
    watch = Watch(watched)
    watch.start()
    start = time.monotonic()
    process = subprocess.Popen(
        [sys.executable, "-m", "airgap", *map(str, words)], env=env, stdout=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.monotonic() - start
    if process.returncode != 0:
        sys.exit(f"exit code {process.returncode}: airgap {' '.join(map(str, words))}")
    return Cost(seconds, usage.ru_maxrss * 1024, watch.stop())


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[str]:
    """The address of a registry over a layout."""
    command = [sys.executable, "-m", "airgap", "serve", str(folder), "--port", "0", "--quiet"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        told = re.search(r"http://(\S+)", process.stdout.readline())
        assert told is not None, "the registry did not start"
        yield told[1]
    finally:
        process.terminate()
        process.communicate()


def set_up(folder: Path) -> tuple[Path, Path]:
    """The homes of both sides."""
    online, offline = folder / "online", folder / "offline"
    cost_of(online, folder, "init", "--owner", "bench", "--site", "hq")
    root = online / "trust" / "1.root.json"
    fingerprint = hashlib.sha256(root.read_bytes()).hexdigest()
    cost_of(offline, folder, "trust", "install", root, "--site", "plant", "--fingerprint", fingerprint)
    return online, offline


def load_into_engine(offline: Path, bundle: Path) -> Cost | None:
    """None where there is no engine."""
    try:
        engine = start_docker20()
    except pytest.skip.Exception as reason:
        sys.stdout.write(f"no engine: {reason}\n")
        return None
    with engine:
        return cost_of(offline, bundle, "load", bundle, "--to", f"docker:{engine.host}", "--quiet")


def measure(folder: Path, mebibytes: int) -> bool:
    """Measure everything below `folder`; whether all of it is within the limits."""
    online, offline = set_up(folder)
    layout, stick = folder / "source", folder / "stick"
    stick.mkdir()
    write_image(layout, mebibytes)
    costs: dict[str, Cost] = {}
    with serving(layout) as address:
        manifest = folder / "large.yaml"
        manifest.write_text(f"version: 1\nname: large\nimages: ['{address}/example.com/{REPOSITORY}:1']\n")
        costs["pack from a registry"] = cost_of(online, stick, "pack", manifest, "--to", stick, "--quiet")
    bundle = stick / "large-0001"
    final = held(stick)
    costs["verify"] = cost_of(offline, stick, "verify", bundle, "--quiet")
    into = folder / "out"
    costs["load into a folder"] = cost_of(offline, stick, "load", bundle, "--to", f"oci:{into}", "--quiet")
    if (engine := load_into_engine(offline, bundle)) is not None:
        costs["load into Docker 20.10"] = engine
    sys.stdout.write(f"{'':24} {'wall':>8} {'peak RSS':>10} {'peak of the bundle on disk':>28}\n")
    for name, cost in costs.items():
        disk = f"{max(cost.peak_disk - final, 0) / 1e6:+.1f} MB of {final / 1e6:,.1f} MB"
        sys.stdout.write(f"{name:24} {cost.seconds:6.1f} s {cost.rss / 1e6:7.1f} MB {disk:>28}\n")
    return all(cost.rss < MAX_RSS and cost.peak_disk <= final + MAX_EXTRA_DISK for cost in costs.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=2048, help="size of the layer")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="airgap-memory-") as folder:
        good = measure(Path(folder), options.mebibytes)
    sys.stdout.write("within the limits\n" if good else "OVER THE LIMITS\n")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
