"""How commands grow with what a site keeps and carries: python -m tests.bench.growth images|ledger SIZE...

`images` makes layouts of SIZE images of 12 small blobs. They are packed, checked, cut into volumes, and loaded
into a layout and into docker-registry, and so is a delta after a tenth of them has changed. `ledger` makes sites
with a ledger of SIZE records, a receipt for each 100 and a bundle for each 500 records. Whole processes, one
run each; CPU seconds, because they depend least on what else the machine does. RSS is at least that of the
measuring process itself. The exponent compares a size
with the one before: 1 is linear, 2 is the square.
"""

import argparse
import math
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.bench.growing_site import make_site
from tests.support.images import Image, Layer, make_image, noise, write_layout
from tests.support.registries import RealRegistry

_LAYERS = 10
"""With the config and the manifest, 12 blobs."""
_NAME = "growing"
_VOLUMES = ("--volume-size", "4GiB")


@dataclass(frozen=True)
class Run:
    """What one command took. Seconds and bytes."""

    cpu: float
    wall: float
    rss: int


def main() -> None:
    options = _options()
    make = {"images": _image_runs, "ledger": _ledger_runs}[options.what]
    before: dict[str, Run] = {}
    print("| command | size | CPU s | seconds | RSS MB | exponent |\n|---|---:|---:|---:|---:|---:|")
    for place, size in enumerate(options.sizes):
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            runs = make(Path(folder), size)
            for title, run in runs:
                exponent = _exponent(before.get(title), run, options.sizes, place)
                print(
                    f"| {title} | {size:,} | {run.cpu:.2f} | {run.wall:.1f} | {run.rss / 1e6:.0f} "
                    f"| {exponent} |",
                    flush=True,
                )
                before[title] = run


def _exponent(before: Run | None, run: Run, sizes: Sequence[int], place: int) -> str:
    if before is None:
        return ""
    return f"{math.log(run.cpu / before.cpu) / math.log(sizes[place] / sizes[place - 1]):.2f}"


def _image_runs(folder: Path, images: int) -> Iterator[tuple[str, Run]]:
    layout, manifest = folder / "layout", folder / f"{_NAME}.yaml"
    entry = f"images:\n  - oci: {layout}\n"
    manifest.write_text(f"version: 1\nname: {_NAME}\nplatforms: all\n{entry}", "utf-8")
    home, medium = folder / "home", folder / "medium"
    medium.mkdir()
    (folder / "volumes").mkdir()
    _run(home, "init", "--owner", "alice", "--site", "hq")
    first, second = f"{medium}/{_NAME}-0001", f"{medium}/{_NAME}-0002"
    pack = ("pack", str(manifest), "--to", str(medium))
    to_layout = ("--to", f"oci:{folder / 'out'}")
    with RealRegistry(folder / "registry") as registry:
        to_registry = ("--to", f"registry:{registry.host}")
        _write_images(layout, images, changed=0)
        for title, words in (
            ("lock", ("lock", str(manifest))),
            ("plan", ("plan", str(manifest))),
            ("pack", pack),
            ("verify", ("verify", first)),
            ("inspect", ("inspect", first)),
            ("load into a layout", ("load", first, *to_layout)),
            ("load into it again", ("load", first, *to_layout)),
            ("load into a registry", ("load", first, *to_registry)),
            ("load into it again (registry)", ("load", first, *to_registry)),
            ("repack into volumes", ("repack", first, "--to", str(folder / "volumes"), *_VOLUMES)),
        ):
            yield title, _run(home, *words)
        _write_images(layout, images, changed=images // 10)
        for title, words in (
            ("lock again, a tenth changed", ("lock", str(manifest), "--update", "all")),
            ("pack a delta", (*pack, "--since", "1")),
            ("diff", ("diff", first, second)),
            ("load the delta into a layout", ("load", second, *to_layout)),
            ("load the delta into a registry", ("load", second, *to_registry)),
            ("audit report", ("audit", "report")),
        ):
            yield title, _run(home, *words)


def _write_images(layout: Path, images: int, *, changed: int) -> None:
    """Write the layout in another process: what this one uses would count as the memory of the commands."""
    process = multiprocessing.get_context("fork").Process(target=_write_all, args=(layout, images, changed))
    process.start()
    process.join()
    if process.exitcode != 0:
        raise SystemExit(f"cannot write {layout}")


def _write_all(layout: Path, images: int, changed: int) -> None:
    numbers = [place + images if place < changed else place for place in range(images)]
    write_layout(layout, {f"registry.test/app-{p}:1": _image(number) for p, number in enumerate(numbers)})


def _image(number: int) -> Image:
    layers = [Layer.of({"file": noise(200, 100 * number + layer)}) for layer in range(_LAYERS)]
    return make_image(layers, label=str(number))


def _ledger_runs(folder: Path, records: int) -> Iterator[tuple[str, Run]]:
    home = make_site(folder, records=records, receipts=records // 100, bundles=max(records // 500, 2))
    for title, words in (
        ("first look, which writes the summary", ("key", "generate", "bob")),
        ("look (`key list`)", ("key", "list")),
        ("`audit find` of a digest", ("audit", "find", "sha256:1cc8ad5c")),
        ("`audit log -n 1`", ("audit", "log", "--limit", "1")),
        ("`audit report`", ("audit", "report")),
        ("`audit verify`", ("audit", "verify")),
    ):
        yield title, _run(home, *words)


def _run(home: Path, *words: str) -> Run:
    start = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-m", "airgap", *words],
        env={**os.environ, "AIRGAP_HOME": str(home), "AIRGAP_PASSPHRASE": "a bench of growth"},
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, 4):  # 4: nothing was found
        raise SystemExit(f"{' '.join(words)}: exit {process.returncode}")
    return Run(usage.ru_utime + usage.ru_stime, time.perf_counter() - start, usage.ru_maxrss << 10)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=("images", "ledger"))
    parser.add_argument("sizes", type=int, nargs="+")
    parser.add_argument("--folder", type=Path, help="where the layouts and sites are made")
    return parser.parse_args()


if __name__ == "__main__":
    main()
