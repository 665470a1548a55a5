"""The benchmark: `python -m tests.bench [A B C D E] [--rounds N]`, from the repository's root.

It makes its images once, in a cache folder (AIRGAP_BENCH_DIR, by default below the system's temporary
folder, where the engines live too; 12 GB must be free), and measures airgap and its peers in turns: whole
processes, start-up included, after a round that does not count (not with engines), each after a sync. The
tables go to stdout, what happens to stderr. Nothing here fails because of a figure. All of it takes about
an hour at scale 1; it wants root, and a machine with nothing else to do.

A  registry to disk      B  bundle to an empty registry     C  bundle to Docker, three engines
D  verify, start-up      E  1,000 images; memory by size
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

from tests.bench import checks, loads, pulls
from tests.bench.corpus import unique
from tests.bench.goals import Sizes, goals
from tests.bench.lab import Contender, Lab, say
from tests.bench.measure import CommandError, size
from tests.bench.report import as_json, machine, markdown
from tests.bench.world import World

SECTIONS = "ABCDE"


def main() -> None:
    options = _options()
    try:
        world = World(options.folder, options.scale)
    except CommandError as error:
        sys.exit(f"error: {error}")
    lab = Lab(world)
    try:
        for section in options.sections or SECTIONS:
            say(f"section {section}")
            lab.run(_contenders(section, world, full=options.full), options.rounds)
    except KeyboardInterrupt:
        say("interrupted: these are the figures so far")
    finally:
        _report(lab, options.json)
        world.close()


def _report(lab: Lab, path: Path | None) -> None:
    world = lab.world
    facts = machine(world.folder) | {"corpus": _describe(world)}
    reached = goals(lab.tables, _sizes(world))
    if path:
        path.write_text(json.dumps(as_json(facts, lab.tables, reached, lab.failures), indent=1))
    print(markdown(facts, lab.tables, reached, lab.failures), end="", flush=True)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m tests.bench", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = Path(os.environ.get("AIRGAP_BENCH_DIR") or Path(tempfile.gettempdir()) / "airgap-bench")
    parser.add_argument("sections", nargs="*", choices=SECTIONS, metavar="SECTION", help="some of A to E")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="that count (5)")
    parser.add_argument(
        "--scale", type=float, default=1.0, metavar="F", help="times the sizes of all layers (1)"
    )
    parser.add_argument("--full", action="store_true", help="with a bundle of 10 GB in E")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write every single run")
    parser.set_defaults(folder=default)
    return parser.parse_args()


def _contenders(section: str, world: World, *, full: bool) -> list[Contender]:
    if section == "A":
        return pulls.contenders(world)
    if section == "B":
        return loads.to_registry(world)
    if section == "C":
        return loads.to_docker(world)
    return checks.verify(world) if section == "D" else checks.scale(world, full=full)


def _describe(world: World) -> str:
    first = unique(world.corpus.first)
    return (
        f"{len(world.corpus.first)} images, {len(first)} blobs and documents, {sum(first.values()):,} bytes; "
        f"{len(world.corpus.update)} second versions with {world.new_bytes:,} new bytes; scale {world.scale:g}"
    )


def _sizes(world: World) -> Sizes:
    made = vars(world)  # only what a section has asked for
    return Sizes(
        unique=sum(unique(world.corpus.first).values()),
        new=world.new_bytes,
        delta=size(made["delta"]) if "delta" in made else None,
        largest_image=max(image.unpacked for image in world.corpus.first),
    )


if __name__ == "__main__":
    main()
