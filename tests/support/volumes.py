"""Bundles cut over volumes, written from FORMAT.md §2.5 alone and not with the code that is tested; and ways
to harm them.

    volumes = cut_over(gap.bundle, folder, {"blobs/sha256/…": [(1, 2000), (3, 900)]}, of=3)
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.bundles import ONE, TWO
from tests.support.images import Image, Layer, make_image, noise

Places = Mapping[str, Sequence[tuple[int, int]]]
"""By the name of a blob, volume and size of each part."""


@dataclass(frozen=True)
class Volumes:
    """The folders of a bundle's volumes, in order."""

    folders: tuple[Path, ...]

    def __getitem__(self, number: int) -> Path:
        return self.folders[number - 1]

    def copy(self, folder: Path) -> "Volumes":
        """The same at another place, to be spoilt."""
        return Volumes(tuple(shutil.copytree(path, folder / path.name) for path in self.folders))

    def table(self, number: int = 1) -> dict[str, Any]:
        """What a `volume.json` says."""
        return json.loads((self[number] / "volume.json").read_bytes())

    def retable(self, change: Callable[[dict[str, Any]], object], *numbers: int) -> None:
        """Change every `volume.json`, or those of some volumes; its form stays canonical."""
        for number in numbers or range(1, len(self.folders) + 1):
            document = self.table(number)
            change(document)
            (self[number] / "volume.json").write_bytes(table_bytes(document))

    def on(self, blob: str) -> list[tuple[int, str]]:
        """Volume and file name of each part of a blob."""
        key = blob.removeprefix("blobs/").replace("/", ":")
        (entry,) = (each for each in self.table()["blobs"] if each["blob"] == key)
        names = [f"{blob}.{n:03d}" for n in range(len(entry["parts"]))] if len(entry["parts"]) > 1 else [blob]
        return [(part["volume"], name) for part, name in zip(entry["parts"], names, strict=True)]

    def part(self, blob: str, number: int) -> Path:
        """Where a part of a blob is."""
        volume, name = self.on(blob)[number]
        return self[volume] / name

    def names(self, number: int) -> set[str]:
        """Every file on a volume."""
        return {p.relative_to(self[number]).as_posix() for p in self[number].rglob("*") if p.is_file()}

    def put(self, name: str, raw: bytes, *numbers: int) -> None:
        """Write a file on every volume, or on some."""
        for number in numbers or range(1, len(self.folders) + 1):
            path = self[number] / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(raw)


def noisy_images() -> dict[str, Image]:
    """Two images with a layer each of their own and one that they share."""
    shared = Layer.of({"shared.bin": noise(9000, 1)})
    return {
        name: make_image([shared, Layer.of({"own.bin": noise(2000, n)})]) for n, name in ((2, ONE), (3, TWO))
    }


def table_bytes(document: Mapping[str, Any]) -> bytes:
    """The canonical form of `volume.json`: a field a line, and a blob a line."""
    lines = [
        f"{json.dumps(key)}:{json.dumps(document[key], separators=(',', ':'))}"
        for key in document
        if key != "blobs"
    ]
    blobs = [json.dumps(blob, separators=(",", ":")) for blob in document["blobs"]]
    return ("{" + ",\n".join(lines) + ',\n"blobs":[\n' + ",\n".join(blobs) + "\n]}\n").encode()


def layers_in(bundle: Path) -> dict[str, int]:
    """The sizes of a bundle's layers by name: its blobs that are no JSON."""
    found = {path.relative_to(bundle).as_posix(): path for path in sorted((bundle / "blobs").glob("*/*"))}
    return {name: path.stat().st_size for name, path in found.items() if path.read_bytes()[:1] != b"{"}


def in_turn(layers: Mapping[str, int], of: int) -> dict[str, list[tuple[int, int]]]:
    """The largest layer in two parts more than there are volumes, the others whole, on one volume each."""
    largest = max(layers, key=lambda name: (layers[name], name))
    places = {name: [(n % of + 1, size)] for n, (name, size) in enumerate(layers.items())}
    pieces, each = [*range(1, of + 1), of, of], layers[largest] // (of + 2)
    places[largest] = [(volume, each) for volume in pieces[:-1]]
    places[largest].append((of, layers[largest] - each * (of + 1)))
    return places


def cut_over(bundle: Path, to: Path, places: Places, of: int) -> Volumes:
    """Write the volumes of a bundle in the folder `to`."""
    folders = tuple(to / f"{bundle.name}.v{number}" for number in range(1, of + 1))
    for folder in folders:
        shutil.copytree(bundle, folder)
        for name in places:
            (folder / name).unlink()
    blobs = []
    for name, parts in places.items():
        rest = (bundle / name).read_bytes()
        entry: dict[str, Any] = {"blob": name.removeprefix("blobs/").replace("/", ":"), "parts": []}
        for number, (volume, size) in enumerate(parts):
            piece, rest = rest[:size], rest[size:]
            file = f"{name}.{number:03d}" if len(parts) > 1 else name
            (folders[volume - 1] / file).write_bytes(piece)
            sha256 = hashlib.sha256(piece).hexdigest()
            entry["parts"].append({"volume": volume, "size": size, "sha256": sha256})
        assert not rest, name
        blobs.append(entry)
    blobs.sort(key=lambda entry: entry["blob"])
    statement = hashlib.sha256((bundle / "statement.json").read_bytes()).hexdigest()
    for number, folder in enumerate(folders, 1):
        document = {"version": 1, "statement_sha256": statement, "volume": number, "of": of, "blobs": blobs}
        (folder / "volume.json").write_bytes(table_bytes(document))
    return Volumes(folders)
