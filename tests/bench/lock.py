"""Times of `airgap lock` through a far registry: python -m tests.bench.lock, from the repository's root.

50 images of 10 platforms, a registry that is 40 ms away, and 25 MB/s for each connection. The registry and the
line to it are a process of their own. `--tree DIR` measures the airgap of another working tree too, and `crane
digest`, eight at a time, is measured where crane can be found: it does less, for it asks for no attachments.
The times are the best of the rounds, whole processes with their start-up.
"""

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from tests.bench.lab import say
from tests.support.far_registry import FarProxy
from tests.support.registry import FakeRegistry
from tests.support.requests import image_of, platforms

ROOT = Path(__file__).parents[2]
CRANES = (Path("/var/cache/airgap-tests/sid/usr/bin/crane"),)


def main() -> None:
    options = _options()
    if options.serve:
        serve(options)
        return
    words = [
        sys.executable,
        "-m",
        __spec__.name if __spec__ else "tests.bench.lock",
        "--serve",
        *sys.argv[1:],
    ]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        host = server.stdout.readline().strip()
        try:
            measure(options, host)
        finally:
            server.stdin.close()


def serve(options: argparse.Namespace) -> None:
    """Be the far registry until standard input ends; its address is the first line of output."""
    with FakeRegistry() as fake:
        fake.referrers_api = options.referrers_api
        for number in range(options.images):
            fake.add(f"app{number}", "1", image_of(options.platforms, f"app{number}x"))
        port = int(fake.host.rpartition(":")[2])
        with FarProxy(port, round_trip=options.round_trip, rate=options.rate) as far:
            print(far.host, flush=True)
            sys.stdin.read()
            say(f"requests: {len(fake.requests):,} over {far.connections} connections, in all rounds")


def measure(options: argparse.Namespace, host: str) -> None:
    names = [f"{host}/app{number}:1" for number in range(options.images)]
    with tempfile.TemporaryDirectory() as folder:
        manifest = Path(folder) / "stack.yaml"
        wanted = ", ".join(platforms(options.platforms))
        entries = "".join(f"  - {name}\n" for name in names)
        manifest.write_text(f"version: 1\nname: stack\nplatforms: [{wanted}]\nimages:\n{entries}", "utf-8")
        runs = {f"airgap lock, {tree.name}": partial(_lock, tree, manifest) for tree in (ROOT, *options.tree)}
        crane = shutil.which("crane") or next((str(path) for path in CRANES if path.exists()), None)
        if crane is not None:
            runs["crane digest, 8 at a time"] = partial(_digests, crane, names)
        _report(runs, options.rounds)


def _lock(tree: Path, manifest: Path) -> None:
    manifest.with_suffix(".lock.yaml").unlink(missing_ok=True)  # what is locked is not resolved again
    environment = {**os.environ, "PYTHONPATH": str(tree), "AIRGAP_HOME": str(manifest.parent / "home")}
    words = [sys.executable, "-P", "-m", "airgap", "lock", manifest, "--quiet"]
    subprocess.run(words, env=environment, check=True, stdout=subprocess.DEVNULL)


def _digests(crane: str, names: list[str]) -> None:
    words = ["xargs", "-P8", "-n1", crane, "digest", "--insecure"]
    subprocess.run(words, input="\n".join(names), text=True, check=True, stdout=subprocess.DEVNULL)


def _report(runs: dict[str, Callable[[], None]], rounds: int) -> None:
    """Run all in turn, so that other work on the machine affects them alike."""
    taken: dict[str, list[tuple[float, float]]] = {title: [] for title in runs}
    for _ in range(rounds):
        for title, run in runs.items():
            start, before = time.perf_counter(), _children_cpu()
            run()
            taken[title].append((time.perf_counter() - start, _children_cpu() - before))
    for title, samples in taken.items():
        spelt = ", ".join(f"{wall:.2f}" for wall, _ in samples)
        wall, cpu = (min(figures) for figures in zip(*samples, strict=True))
        print(f"{title}: {wall:.2f} s ({spelt}), {cpu:.2f} s CPU", flush=True)


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=int, default=50)
    parser.add_argument("--platforms", type=int, default=10)
    parser.add_argument("--round-trip", type=float, default=0.04, help="seconds")
    parser.add_argument("--rate", type=float, default=25e6, help="bytes a second for each connection")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--referrers-api", action="store_true", help="the registry has a referrers API")
    parser.add_argument(
        "--tree", type=Path, action="append", default=[], help="another working tree of airgap"
    )
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
