"""Times of `airgap pack` through a far registry: python -m tests.bench.far, from the repository's root.

The images of the other tables, from docker-registry through a line of 40 ms and 25 MB/s for each connection,
which is a process of its own, beside `crane pull` in the same rounds. `--tree DIR` measures the airgap of
another working tree too. The times are medians, whole processes with their start-up; the peak of the memory
and the connections are those of the last round.
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.bench.lab import say
from tests.bench.measure import Sample, measure
from tests.bench.world import World
from tests.support.far_registry import FarProxy

ROOT = Path(__file__).parents[2]


def main() -> None:
    options = _options()
    if options.serve:
        serve(options)
        return
    world = World(options.folder, options.scale)
    try:
        with far_line(options, world.registry.host) as host:
            report(rounds(options, world, host))
    finally:
        world.close()


def serve(options: argparse.Namespace) -> None:
    """Be the line to the registry until standard input ends; its address is the first line of output."""
    with FarProxy(options.serve, round_trip=options.round_trip, rate=options.rate) as far:
        print(far.host, flush=True)
        sys.stdin.read()
        say(f"connections: {far.connections}, in all rounds")


@contextmanager
def far_line(options: argparse.Namespace, host: str) -> Iterator[str]:
    """The address of the registry `host` at the other end of the line."""
    port = host.rpartition(":")[2]
    words = [sys.executable, "-m", "tests.bench.far", "--serve", port]
    words += ["--round-trip", str(options.round_trip), "--rate", str(options.rate)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        assert server.stdin is not None
        try:
            yield server.stdout.readline().strip()
        finally:
            server.stdin.close()


def rounds(options: argparse.Namespace, world: World, host: str) -> dict[str, list[Sample]]:
    """Measure all contenders in turn."""
    names = [f"{host}/{image.name}" for image in world.corpus.first]
    manifest = world.manifest("far", names)
    contenders: dict[str, Callable[[Path], Sample]] = {
        "crane": lambda folder: _crane(world, names, folder),
        **{f"airgap, {tree}": _packer(world, tree, manifest, options.jobs) for tree in (ROOT, *options.tree)},
    }
    samples: dict[str, list[Sample]] = {name: [] for name in contenders}
    for _ in range(options.rounds):
        for name, run in contenders.items():
            with world.scratch() as folder:
                samples[name].append(run(folder))
            say(f"{name}: {samples[name][-1].wall:.1f} s")
    return samples


def report(samples: dict[str, list[Sample]]) -> None:
    """Print a line for each contender."""
    base = statistics.median(sample.wall for sample in samples["crane"])
    for name, taken in samples.items():
        wall = statistics.median(sample.wall for sample in taken)
        cpu = statistics.median(sample.cpu for sample in taken)
        peak = max(sample.rss for sample in taken) / 1e6
        print(f"{name}: {wall:.1f} s, {wall / base:.2f} x crane, {cpu:.1f} CPU s, {peak:.0f} MB", flush=True)


def _crane(world: World, names: list[str], folder: Path) -> Sample:
    words = [*world.sid("crane"), "pull", "--insecure", "--format=oci", *names, str(folder / "out")]
    return measure(words, env=world.environment(), log=world.folder / "command.log", disk=world.folder)


def _packer(world: World, tree: Path, manifest: Path, jobs: int) -> Callable[[Path], Sample]:
    def run(folder: Path) -> Sample:
        home = world.fresh_site(world.sites[0], folder)
        environment = {**world.environment(home), "PYTHONPATH": str(tree)}
        words = [sys.executable, "-P", "-m", "airgap", "pack", str(manifest), "--to", str(folder / "out")]
        words += ["--jobs", str(jobs), "--quiet"]
        return measure(words, env=environment, log=world.folder / "command.log", disk=world.folder)

    return run


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    default = Path(os.environ.get("AIRGAP_BENCH_DIR") or Path(tempfile.gettempdir()) / "airgap-bench")
    parser.add_argument("--scale", type=float, default=1.0, help="times the sizes of all layers")
    parser.add_argument("--round-trip", type=float, default=0.04, help="seconds")
    parser.add_argument("--rate", type=float, default=25e6, help="bytes a second for each connection")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=3)
    parser.add_argument(
        "--tree", type=Path, action="append", default=[], help="another working tree of airgap"
    )
    parser.add_argument("--serve", type=int, metavar="PORT", help=argparse.SUPPRESS)
    parser.set_defaults(folder=default)
    return parser.parse_args()


if __name__ == "__main__":
    main()
