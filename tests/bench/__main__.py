"""The benchmark: `python -m tests.bench [SECTION...] [--rounds N] [--write]`, from the repository's root.

It makes its images once, in a cache folder (AIRGAP_BENCH_DIR, by default below the system's temporary
folder, where the engines live too; 30 GB must be free), and measures airgap and its peers in turns: whole
processes, start-up included, after a round that does not count, each after a sync. What waits for a line, a
stick or twenty hosts has fewer rounds. The tables go to stdout, progress to stderr; `--write` replaces those
in docs/performance.md, and leaves its other text unchanged. Nothing here fails because of a figure. All of it
takes about 45 minutes at scale 1; it needs root, and a machine with nothing else to do.

By default:
  pack      registry to disk                  far       pack, with a registry 40 ms away
  lock      50 images, 40 ms away             stick     pack onto a slow stick
  verify    a bundle                          registry  bundle to an empty registry
  start     start-up of commands              send      over SSH, to one host and to twenty
  docker    bundle to three engines
On demand, or with --full:
  serve     beside docker-registry and nginx  memory    a layer of 10 GB (40 GB must be free)
  growth-images, growth-ledger                with the number of images, and of records of a ledger
"""

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from tests.bench import checks, growth, loads, lock, memory, pulls, serve, ssh
from tests.bench.corpus import unique
from tests.bench.goals import goals
from tests.bench.lab import Contender, Lab, Table, say
from tests.bench.machine import machine
from tests.bench.measure import CommandError
from tests.bench.report import GOALS, MACHINE, PageError, as_json, blocks, check, write
from tests.bench.world import REPOSITORY, World

PAGE = REPOSITORY / "docs" / "performance.md"
SECTIONS: dict[str, Callable[[World], list[Contender]]] = {
    "pack": pulls.loopback,
    "far": pulls.far,
    "lock": lock.contenders,
    "stick": pulls.stick,
    "verify": checks.verify,
    "start": checks.start,
    "registry": loads.to_registry,
    "send": ssh.contenders,
    "docker": loads.to_docker,
}
GROWTH = {"growth-images": growth.images, "growth-ledger": growth.ledger}
ON_DEMAND: dict[str, Callable[[World], list[Contender]]] = {
    "serve": serve.contenders,
    "memory": memory.contenders,
}
TABLES: tuple[Table, ...] = (
    *(pulls.TABLE, pulls.FAR, lock.TABLE, pulls.STICK, checks.VERIFIED, checks.STARTED, loads.REGISTRY),
    *(ssh.ONE, ssh.MANY, *loads.ENGINES.values()),
    *(*serve.TABLES.values(), memory.TABLE, growth.IMAGES, growth.LEDGER),
)


def main() -> None:
    options = _options()
    try:
        if options.write:  # before an hour of measuring
            check(PAGE, [MACHINE, GOALS, *(table.name for table in TABLES)])
        world = World(options.folder, options.scale)
    except (CommandError, PageError) as error:
        sys.exit(f"error: {error}")
    lab = Lab(world, options.tree)
    sections = options.sections or [*SECTIONS, *([*ON_DEMAND, *GROWTH] if options.full else ())]
    try:
        for section in sections:
            start = time.monotonic()
            say(f"section {section}")
            lab.run(_contenders(section, world, options), options.rounds)
            say(f"section {section}: {(time.monotonic() - start) / 60:.1f} minutes")
    except KeyboardInterrupt:
        say("interrupted: these are the figures so far")
        options.write = False
    finally:
        _report(lab, options)
        world.close()


def _contenders(section: str, world: World, options: argparse.Namespace) -> list[Contender]:
    if section in GROWTH:
        return GROWTH[section](world, options.sizes)
    return (SECTIONS | ON_DEMAND)[section](world)


def _report(lab: Lab, options: argparse.Namespace) -> None:
    facts = machine(lab.world.folder) | {"corpus": _describe(lab.world), "rounds": str(options.rounds)}
    reached = goals(lab.tables)
    if options.json:
        options.json.write_text(json.dumps(as_json(facts, lab.tables, reached, lab.failures), indent=1))
    found = blocks(facts, lab.tables, reached)
    print("\n".join(found.values()))
    for failure in lab.failures:
        print(f"not measured: {' '.join(failure.split())[:400]}")
    sys.stdout.flush()
    if options.write:
        write(PAGE, found)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path(os.environ.get("AIRGAP_BENCH_DIR") or Path(tempfile.gettempdir()) / "airgap-bench")
    add = parser.add_argument
    add("sections", nargs="*", type=_section, metavar="SECTION", help="what to measure")
    add("--rounds", type=int, default=5, metavar="N", help="that count (5)")
    add("--scale", type=float, default=1.0, metavar="F", help="times the sizes of all layers (1)")
    add("--full", action="store_true", help="with the sections on demand")
    add("--sizes", type=int, nargs="+", default=(), metavar="N", help="of the growth, instead of the default")
    add("--tree", type=Path, action="append", default=[], metavar="DIR",
        help="another working tree of airgap, to be measured too")  # fmt: skip
    add("--json", type=Path, metavar="FILE", help="where to write every single run")
    add("--write", action="store_true", help="write the tables into docs/performance.md")
    parser.set_defaults(folder=default)
    return parser.parse_args()


def _section(name: str) -> str:
    if name not in (*SECTIONS, *ON_DEMAND, *GROWTH):
        raise argparse.ArgumentTypeError(f"unknown section: {name}")
    return name


def _describe(world: World) -> str:
    first = unique(world.corpus.first)
    return (
        f"{len(world.corpus.first)} images, {len(first)} blobs and documents, {sum(first.values()):,} bytes; "
        f"{len(world.corpus.update)} second versions with {world.new_bytes:,} new bytes; scale {world.scale:g}"
    )


if __name__ == "__main__":
    main()
