"""How commands grow with what a site keeps and carries. CPU seconds count, because they depend least on the machine.

`images` makes layouts of images of 12 small blobs. They are packed, checked, cut into volumes, and loaded
into a layout and into docker-registry, and so is a delta after a tenth of them has changed. `ledger` makes
sites with a ledger of so many records, a receipt for each 100 and a bundle for each 500 records. One run each.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from statistics import median

from tests.bench.growing_site import make_site
from tests.bench.lab import Contender, Lab, Rows, Table
from tests.bench.world import World
from tests.support.images import Image, Layer, make_image, noise, write_layout
from tests.support.registries import RealRegistry

_LAYERS = 10
"""With the config and the manifest, 12 blobs."""
_NAME = "growing"
_COLUMNS = ("CPU s", "RSS MB")
IMAGES = Table("growth-images", "images of 12 blobs: command, number of images", (), _COLUMNS)
LEDGER = Table("growth-ledger", "records of a ledger: command, number of records", (), _COLUMNS)
SIZES = {IMAGES: (100, 1_000, 5_000), LEDGER: (10_000, 100_000, 1_000_000)}

Steps = Iterator[tuple[str, Path, Sequence[str | Path]]]
"""Titles, the home of the site and the words of commands, each to be run before the next is asked for."""
MakeSteps = Callable[[World, Path, int], Steps]


def images(world: World, sizes: Sequence[int]) -> list[Contender]:
    return _contenders(IMAGES, _image_steps, sizes)


def ledger(world: World, sizes: Sequence[int]) -> list[Contender]:
    return _contenders(LEDGER, _ledger_steps, sizes)


def exponents(rows: Rows) -> dict[str, float]:
    """Return, for each row that has a smaller one of the same command, the exponent: 1 is linear, 2 is the square."""
    found: dict[str, float] = {}
    before: dict[str, tuple[int, float]] = {}
    for name, row in rows.items():
        title, _, spelt = name.rpartition(", ")
        size, cpu = int(spelt.replace(",", "")), median(sample.cpu for sample in row.samples)
        if title in before:
            smaller, least = before[title]
            found[name] = math.log(cpu / least) / math.log(size / smaller)
        before[title] = size, cpu
    return found


def _contenders(table: Table, steps: MakeSteps, sizes: Sequence[int]) -> list[Contender]:
    return [
        Contender(table, f"{size:,}", partial(_measure, table, steps, size), rounds=1, warm=False)
        for size in sizes or SIZES[table]
    ]


def _measure(table: Table, steps: MakeSteps, size: int, lab: Lab) -> None:
    with lab.world.scratch() as folder:
        for title, home, words in steps(lab.world, folder, size):
            row = f"{title}, {size:,}"
            lab.airgap(row, home, *words, small=True, accept=(0, 4))  # 4: nothing was found
            if row in (found := exponents(lab.tables[table])):
                lab.note(row, f"exponent {found[row]:.2f}")


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
    yield "repack into volumes", home, ("repack", first, "--to", volumes, "--volume-size", "8MB")
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
    yield "look (`key list`)", home, ("key", "list")
    yield "`audit find` of a digest", home, ("audit", "find", "sha256:1cc8ad5c")
    yield "`audit log --limit 1`", home, ("audit", "log", "--limit", "1")
    yield "`audit report`", home, ("audit", "report")
    yield "`audit verify`", home, ("audit", "verify")
