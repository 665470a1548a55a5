"""D: verify, what two cores can hash, and start-up. E: many images, and memory by size."""

import sys
from functools import partial

from tests.bench import synthetic
from tests.bench.lab import Contender, Lab
from tests.bench.world import World

VERIFY_TABLE = "D: verify a bundle"
VERIFY, CEILING = "airgap verify", "ceiling: hashlib in two threads"
START_TABLE = "D: start-up"
HELP = "airgap --help"
SCALE_TABLE = "E: many images, and memory by size"
SIZES = (100, 1000, 10_000)
"""Megabytes; the last only on demand."""
PLAN = "airgap plan, 1,000 images of 10 blobs"


def verify(world: World) -> list[Contender]:
    return [
        Contender(VERIFY_TABLE, CEILING, _ceiling),
        Contender(VERIFY_TABLE, "sha256sum -c", _sha256sum),
        Contender(VERIFY_TABLE, VERIFY, _verify),
        Contender(START_TABLE, HELP, _help),
    ]


def scale(world: World, *, full: bool) -> list[Contender]:
    sizes = SIZES if full else SIZES[:2]
    packs = [Contender(SCALE_TABLE, pack_row(size), partial(_pack, size), warm=False) for size in sizes]
    return [Contender(SCALE_TABLE, PLAN, _plan), *packs]


def pack_row(megabytes: int) -> str:
    return f"airgap pack, {synthetic.PARTS} layers of {megabytes // synthetic.PARTS:,} MB"


def _ceiling(lab: Lab) -> None:
    sums = lab.world.bundle / "SHA256SUMS"
    lab.measure(CEILING, [sys.executable, "-m", "tests.bench.ceiling", sums], result=lab.world.bundle)


def _sha256sum(lab: Lab) -> None:
    command = 'cd "$1" && exec sha256sum -c --quiet SHA256SUMS'
    bundle = lab.world.bundle
    lab.measure("sha256sum -c", ["sh", "-c", command, "sh", bundle], result=bundle)


def _verify(lab: Lab) -> None:
    with lab.world.scratch() as folder:
        home = lab.world.fresh_site(lab.world.sites[1], folder)
        lab.airgap(VERIFY, home, "verify", lab.world.bundle, result=lab.world.bundle)


def _help(lab: Lab) -> None:
    with lab.world.scratch() as folder:
        lab.airgap(HELP, folder, "--help")


def _plan(lab: Lab) -> None:
    world = lab.world
    names = [f"{world.synthetic}/many/{number}:1" for number in range(synthetic.MANY)]
    with world.scratch() as folder:
        home = world.fresh_site(world.sites[0], folder)
        lab.airgap(PLAN, home, "plan", world.manifest("many", names))


def _pack(megabytes: int, lab: Lab) -> None:
    world = lab.world
    names = [f"{world.synthetic}/{megabytes}/{number}:1" for number in range(synthetic.PARTS)]
    manifest = world.manifest(f"of-{megabytes}-mb", names)
    with world.scratch() as folder:
        home = world.fresh_site(world.sites[0], folder)
        world.airgap(home, "plan", manifest)  # so that the registry has hashed what it makes up
        out = folder / "out"
        lab.airgap(pack_row(megabytes), home, "pack", manifest, "--to", out, result=out)
