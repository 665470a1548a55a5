"""How commands grow with what a site keeps and carries. CPU seconds count, because they depend least on the machine.

`images` makes layouts of images of 12 small blobs. They are packed, checked, cut into volumes, and loaded
into a layout and into docker-registry, and so is a delta after a tenth of them has changed. `ledger` makes
sites with a ledger of so many records, a receipt for each 100 and a bundle for each 500 records. One run each.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from tests.bench.growing_site import make_site
from tests.bench.lab import Contender, Lab, Rows, Table
from tests.bench.world import World
from tests.support.images import Image, Layer, make_image, noise, write_layout
from tests.support.registries import RealRegistry

_LAYERS = 10
"""With the config and the manifest, 12 blobs."""
_NAME = "growing"
IMAGES = Table("growth-images", "CPU seconds, by number of images")
LEDGER = Table("growth-ledger", "CPU seconds, by number of records")
SIZES = {IMAGES: (100, 1_000, 5_000), LEDGER: (10_000, 100_000, 1_000_000)}
LOOK, AUDIT_VERIFY = "look (`key list`)", "`audit verify`"
FIND_AGAIN = "`audit find` of a digest, again"

Steps = Iterator[tuple[str, Path, Sequence[str | Path]]]
"""Titles, the home of the site and the words of commands, each to be run before the next is asked for."""
MakeSteps = Callable[[World, Path, int], Steps]


def images(_: World, counts: Sequence[int]) -> list[Contender]:
    return _contenders(IMAGES, _image_steps, counts)


def ledger(_: World, counts: Sequence[int]) -> list[Contender]:
    return _contenders(LEDGER, _ledger_steps, counts)


def row(title: str, size: int) -> str:
    """Return the name of the row of a command."""
    return f"{title}, {size:,}"


def split(name: str) -> tuple[str, int]:
    """Return the command and the size of a row."""
    title, _, size = name.rpartition(", ")
    return title, int(size.replace(",", ""))


def sizes(rows: Rows) -> list[int]:
    """Return the sizes that were measured, the smallest first."""
    return sorted({split(name)[1] for name in rows})


def exponents(rows: Rows) -> dict[str, float]:
    """Return, for each command, the exponent of the two largest sizes: 1 is linear, 2 is the square."""
    found: dict[str, float] = {}
    *_, smaller, larger = [1, 1, *sizes(rows)]
    for name in rows:
        title, size = split(name)
        if size == larger and (before := rows.get(row(title, smaller))):
            cpu, least = rows[name].samples[0].cpu, before.samples[0].cpu
            found[title] = math.log(cpu / least) / math.log(larger / smaller)
    return found


def _contenders(table: Table, steps: MakeSteps, counts: Sequence[int]) -> list[Contender]:
    return [
        Contender(table, f"{size:,}", partial(_measure, table, steps, size), rounds=1, warm=False)
        for size in counts or SIZES[table]
    ]


def _measure(table: Table, steps: MakeSteps, size: int, lab: Lab) -> None:
    with lab.world.scratch() as folder:
        for title, home, words in steps(lab.world, folder, size):
            # 4: nothing was found
            lab.airgap(row(title, size), home, *words, small=True, accept=(0, 4))


def _image_steps(world: World, folder: Path, count: int) -> Steps:
    home = world.fresh_site(world.sites[0], folder)
    medium, volumes = folder / "medium", folder / "volumes"
    layout, manifest = folder / "layout", folder / f"{_NAME}.yaml"
    manifest.write_text(f"version: 1\nname: {_NAME}\nplatforms: all\nimages:\n  - oci: {layout}\n")
    medium.mkdir()
    volumes.mkdir()
    first, second = medium / f"{_NAME}-0001", medium / f"{_NAME}-0002"
    pack = ("pack", manifest, "--to", medium)
    to_layout = ("--to", f"oci:{folder / 'out'}")
    _write_images(layout, count, changed=0)
    yield "lock", home, ("lock", manifest)
    yield "plan", home, ("plan", manifest)
    yield "pack", home, pack
    yield "verify", home, ("verify", first)
    yield "inspect", home, ("inspect", first)
    yield "load into a layout", home, ("load", first, *to_layout)
    yield "load into it again", home, ("load", first, *to_layout)
    yield "repack into volumes", home, ("repack", first, "--to", volumes, "--volume-size", "4GiB")
    with RealRegistry(folder / "registry") as registry:
        to_registry = ("--to", f"registry:{registry.host}")
        yield "load into a registry", home, ("load", first, *to_registry)
        yield "load into it again (registry)", home, ("load", first, *to_registry)
        _write_images(layout, count, changed=count // 10)
        yield "lock again, a tenth changed", home, ("lock", manifest, "--update", "all")
        yield "pack a delta", home, (*pack, "--since", "1")
        yield "diff", home, ("diff", first, second)
        yield "load the delta into a layout", home, ("load", second, *to_layout)
        yield "load the delta into a registry", home, ("load", second, *to_registry)
    yield "audit report", home, ("audit", "report")


def _write_images(layout: Path, count: int, *, changed: int) -> None:
    numbers = [place + count if place < changed else place for place in range(count)]
    write_layout(layout, {f"registry.test/app-{p}:1": _image(number) for p, number in enumerate(numbers)})


def _image(number: int) -> Image:
    layers = [Layer.of({"file": noise(200, 100 * number + layer)}) for layer in range(_LAYERS)]
    return make_image(layers, label=str(number))


def _ledger_steps(_: World, folder: Path, records: int) -> Steps:
    home = make_site(folder, records=records, receipts=records // 100, bundles=max(records // 500, 2))
    yield "first look, which writes the summary", home, ("key", "generate", "bob")
    yield LOOK, home, ("key", "list")
    for title in ("`audit find` of a digest", FIND_AGAIN):
        yield title, home, ("audit", "find", "sha256:1cc8ad5c")
    yield "`audit log --limit 1`", home, ("audit", "log", "--limit", "1")
    yield "`audit report`", home, ("audit", "report")
    yield AUDIT_VERIFY, home, ("audit", "verify")
