"""A bundle cut over three volumes, with a layer that is larger than any of them; and what becomes of files.

make_cut(folder)     hq/ and plant/ (the homes of both sites), source/ and stack.yaml,
                     a/ b/ c/ (a volume each), whole/ (the same bundle in one folder)
"""

import contextlib
import io
import json
from pathlib import Path

import pytest

from airgap.bundle.files import Folder
from airgap.bundle.folders import BundleFolders
from airgap.bundle.volume_table import Cut, Part
from airgap.carry.copy import copy_bundle
from airgap.carry.operator import Operator
from airgap.carry.verify import check
from airgap.cli.main import main
from airgap.oci.digest import Digest
from airgap.progress import Silent
from tests.support.bundles import Gap
from tests.support.images import Image, Layer, make_image, noise, write_layout

PASSPHRASE = "correct horse"
VOLUME_SIZE = "5MB"
TITLE = "stack-0001"
MEDIA = ("a", "b", "c")

_BASE = Layer.of({"base.bin": noise(1_000_000, 1)})
_BIG = Layer.of({"big.bin": noise(7_500_000, 2)}, "none")
_TOP = Layer.of({"top.bin": noise(2_000, 3)})
API = make_image([_BASE, _TOP], label="api")
WEB = make_image([_BASE, _BIG], label="web")
IMAGES: dict[str, Image] = {"example.com/api:1": API, "example.com/web:1": WEB}
BASE, BIG, TOP = API.layers[0], WEB.layers[1], API.layers[1]
"""The first and the last are on one volume each; the second is in a part on each volume."""


def run(home: Path, *words: object) -> str:
    """Run a command that works at the site whose home this is; its standard output."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRGAP_HOME", str(home))
        patch.setenv("AIRGAP_PASSPHRASE", PASSPHRASE)
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            code = main([str(word) for word in words])
    assert code == 0, err.getvalue()
    return out.getvalue()


def make_sites(folder: Path) -> tuple[Path, Path]:
    """The homes hq/ and plant/ below `folder`; the second trusts the first."""
    online, offline = folder / "hq", folder / "plant"
    made = json.loads(run(online, "init", "--owner", "alice", "--site", "hq", "--json"))
    trusted = ("--fingerprint", made["fingerprint"])
    run(offline, "trust", "install", made["root"], "--site", "plant-7", *trusted)
    return online, offline


def make_cut(folder: Path) -> Path:
    """Everything that is listed above, below `folder`."""
    write_layout(folder / "source", IMAGES)
    entries = "".join(f"  - {{oci: source, ref: {name}}}\n" for name in IMAGES)
    manifest = folder / "stack.yaml"
    manifest.write_text(f"version: 1\nname: stack\nimages:\n{entries}")
    online, _ = make_sites(folder)
    media = [word for name in MEDIA for word in ("--to", folder / name)]
    run(online, "pack", manifest, *media, "--volume-size", VOLUME_SIZE)
    run(online, "repack", *volumes(folder), "--to", folder / "whole")
    return folder


def volumes(folder: Path, title: str = TITLE) -> list[Path]:
    """The folders of the volumes that `make_cut` has made."""
    return [folder / name / f"{title}.v{number}" for number, name in enumerate(MEDIA, 1)]


def part(folder: Path, number: int, digest: Digest = BIG) -> Path:
    """The part of a blob on the volume of this number."""
    return volumes(folder)[number - 1] / f"{digest.path}.{number - 1:03d}"


def stamps(*folders: Path) -> dict[str, tuple[int, int, int]]:
    """Of each file: which file it is, when it was written, and its size."""
    found = {}
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file():
                stat = path.stat()
                found[f"{folder.name}/{path.relative_to(folder)}"] = (
                    stat.st_ino,
                    stat.st_mtime_ns,
                    stat.st_size,
                )
    return found


def cut_in_thirds(gap: Gap, folder: Path) -> list[Path]:
    """The volumes 1, 2 and 3 of a small bundle, below `folder`; every layer has a part on each."""
    with Folder(gap.bundle) as source:
        bundle = check(source, gap.receiver())
        layers = {d: layer.size for image in bundle.images for d, layer in image.graph.layers.items()}
        paths = tuple(folder / f"{bundle.statement.title}.v{number}" for number in (1, 2, 3))
        cut = Cut(3, {digest: _thirds(size) for digest, size in layers.items()})
        copy_bundle(
            bundle, BundleFolders(paths, cut), Operator(site=gap.site, now=gap.now, progress=Silent())
        )
    return list(paths)


def _thirds(size: int) -> tuple[Part, ...]:
    third = size // 3
    return (Part(1, third), Part(2, third), Part(3, size - 2 * third))
