"""The images that the benchmark moves: made here, byte for byte the same on every run with one zlib.

Sizes, sharing and compressibility follow a set of real images (a Debian base, language runtimes on it,
applications on these, a model of half a gigabyte that does not compress): 1.1 GB of unique blobs at
scale 1, layers of many small files that gzip to about 40 %.
"""

import hashlib
import itertools
import json
import os
import random
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

from airgap.endpoints.registry import Registry
from airgap.oci.digest import Digest
from airgap.oci.documents import (
    CONTAINERD_NAME,
    DOCKER_CONFIG,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    REF_NAME,
    Descriptor,
)
from airgap.oci.reference import ImageReference
from tests.support.images import DOCKER_LAYER

RECIPE = 1
"""Raise it when the same scale must give other bytes."""

_POOL = 8 << 20
_WORDS = 3000
_MEGABYTE = 1_000_000

LAYERS = {  # uncompressed MB; "model" is noise
    "debian": 121.0,
    "python": 56.0,
    "nginx": 17.0,
    "redis": 14.0,
    "postgres": 345.0,
    "node": 100.0,
    "gcc": 375.0,
    "jdk": 315.0,
    "site-packages": 170.0,
    "web": 4.0,
    "model": 570.0,
    "hello-amd64": 12.0,
    "hello-arm64": 12.0,
    **dict.fromkeys(("conf", "api-1.0", "web-1.0", "model-1.0", "api-1.1", "web-1.1", "model-1.1"), 5.0),
}

IMAGES = {  # name: layers, Docker's media types
    "library/debian:12": (["debian"], True),
    "library/python:3.11": (["debian", "python"], True),
    "library/nginx:1.22": (["debian", "nginx", "conf"], False),
    "library/redis:7.0": (["debian", "redis", "conf"], True),
    "library/postgres:15": (["debian", "postgres", "conf"], False),
    "library/node:18": (["debian", "node"], False),
    "ci/builder:1.0": (["debian", "gcc"], False),
    "app/java:1.0": (["debian", "jdk", "conf"], False),
    "app/api:1.0": (["debian", "python", "site-packages", "api-1.0"], False),
    "app/web:1.0": (["debian", "node", "web", "web-1.0"], False),
    "ml/model:1.0": (["debian", "python", "model", "model-1.0"], False),
    "app/api:1.1": (["debian", "python", "site-packages", "api-1.1"], False),
    "app/web:1.1": (["debian", "node", "web", "web-1.1"], False),
    "ml/model:1.1": (["debian", "python", "model", "model-1.1"], False),
}

MULTI = "multi/hello:1.0"


@dataclass(frozen=True)
class Image:
    """One image of the corpus; `blobs` and `documents` (children first) as (digest, media type, size)."""

    name: str
    digest: str
    media_type: str
    size: int
    unpacked: int
    """Bytes of all layers, uncompressed."""
    blobs: list[tuple[str, str, int]]
    documents: list[tuple[str, str, int]]

    @property
    def is_update(self) -> bool:
        return self.name.endswith(":1.1")


@dataclass(frozen=True)
class Corpus:
    """An OCI image layout at `folder`."""

    folder: Path
    images: list[Image]

    @property
    def first(self) -> list[Image]:
        """All images in their first version."""
        return [image for image in self.images if not image.is_update]

    @property
    def update(self) -> list[Image]:
        """Second versions, of which only the top layer is new."""
        return [image for image in self.images if image.is_update]

    def path(self, digest: str) -> Path:
        return self.folder / Digest.parse(digest).path


def unique(images: Sequence[Image]) -> dict[str, int]:
    """Digest and size of every blob and document of `images`, each once."""
    return {digest: size for image in images for digest, _, size in (*image.blobs, *image.documents)}


def corpus_at(cache_folder: Path, scale: float) -> Corpus:
    """The corpus with sizes times `scale`, from the cache or made anew."""
    folder = cache_folder / f"corpus-{RECIPE}-{scale:g}-{zlib.ZLIB_RUNTIME_VERSION}"
    if not folder.exists():
        cache_folder.mkdir(parents=True, exist_ok=True)
        new = Path(tempfile.mkdtemp(prefix="new-", dir=cache_folder))
        try:
            _build(new, scale)
            new.rename(folder)
        except BaseException:
            shutil.rmtree(new)
            raise
    listed = json.loads((folder / "images.json").read_text())
    return Corpus(folder, [Image(**image) for image in listed])


def push(corpus: Corpus, host: str) -> None:
    """Put the whole corpus into a registry, byte for byte."""
    client = Registry(host)
    done: set[tuple[str, str]] = set()
    for image in corpus.images:
        reference = ImageReference.parse(f"{host}/{image.name}")
        for digest, media_type, size in image.blobs:
            if (reference.repository, digest) not in done:
                done.add((reference.repository, digest))
                with corpus.path(digest).open("rb", buffering=0) as stream:
                    client.put_blob(reference, Descriptor(media_type, Digest.parse(digest), size), stream)
        for digest, media_type, size in image.documents:
            raw = corpus.path(digest).read_bytes()
            descriptor = Descriptor(media_type, Digest.parse(digest), size)
            client.put_document(reference, descriptor, raw)
        client.tag(reference, descriptor, raw)
    client.close()


@dataclass(frozen=True)
class _Layer:
    digest: str
    size: int
    diff_id: str
    unpacked: int


def _build(folder: Path, scale: float) -> None:
    (folder / "blobs" / "sha256").mkdir(parents=True)
    names = sorted(LAYERS, key=lambda name: -LAYERS[name])
    with ProcessPoolExecutor(os.cpu_count()) as pool:
        made = pool.map(partial(_make_layer, folder, scale), names)
        layers = dict(zip(names, made, strict=True))
    images = [
        _image(folder, name, [layers[layer] for layer in used], docker=docker)
        for name, (used, docker) in IMAGES.items()
    ]
    images.append(_index(folder, MULTI, {arch: layers[f"hello-{arch}"] for arch in ("amd64", "arm64")}))
    (folder / "images.json").write_text(json.dumps([asdict(image) for image in images], indent=1))
    entries = [
        {
            "mediaType": image.media_type,
            "digest": image.digest,
            "size": image.size,
            "annotations": {REF_NAME: image.name, CONTAINERD_NAME: image.name},
        }
        for image in images
    ]
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    (folder / "index.json").write_text(json.dumps(index))


def _make_layer(folder: Path, scale: float, name: str) -> _Layer:
    """Write a layer's blob: a tar in gzip -6 with no time in its head."""
    packer = zlib.compressobj(6, zlib.DEFLATED, 31)
    raw_sum, sum_, size, unpacked = hashlib.sha256(), hashlib.sha256(), 0, 0
    part = folder / f"{name}.part"
    with part.open("wb") as out:
        for piece in itertools.chain(_tar(name, int(LAYERS[name] * scale * _MEGABYTE)), [None]):
            if piece is not None:
                raw_sum.update(piece)
                unpacked += len(piece)
            data = packer.flush() if piece is None else packer.compress(piece)
            sum_.update(data)
            size += out.write(data)
    part.rename(folder / "blobs" / "sha256" / sum_.hexdigest())
    return _Layer(f"sha256:{sum_.hexdigest()}", size, f"sha256:{raw_sum.hexdigest()}", unpacked)


def _tar(name: str, size: int) -> Iterator[bytes]:
    """A tar of about `size` bytes: one file of noise, or files of the sizes that systems have."""
    rng = random.Random(name)  # a string seeds by its SHA-512: the same in every process
    if name == "model":
        yield _head(f"opt/{name}.bin", size)
        for start in range(0, size, _MEGABYTE):
            yield rng.randbytes(min(_MEGABYTE, size - start))
        yield bytes(-size % 512)
    else:
        yield from _small_files(name, size, rng)
    yield bytes(1024)


def _small_files(name: str, size: int, rng: random.Random) -> Iterator[bytes]:
    for number in itertools.count():
        if size <= 0:
            return
        place = f"usr/lib/{name}/{number // 50:03}"
        if number % 50 == 0:
            yield _head(place, 0, tarfile.DIRTYPE)
        length = min(int(rng.lognormvariate(8.6, 1.7)), size, 4 * _MEGABYTE)
        yield _head(f"{place}/{number:05}", length)
        yield _content(rng, length) + bytes(-length % 512)
        size -= length + 512 + -length % 512


def _head(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.mtime = size, kind, 1_750_000_000
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    return info.tobuf(tarfile.USTAR_FORMAT)


def _content(rng: random.Random, size: int) -> bytes:
    """Text, something like machine code, or what is compressed already."""
    kind = rng.random()
    if kind < 0.05:
        return rng.randbytes(size)
    pool = _text() if kind < 0.55 else _code()
    start = rng.randrange(len(pool) - 4 * _MEGABYTE)
    return pool[start : start + size]


@cache
def _text() -> bytes:
    rng = random.Random("text")
    letters, odds = "etaoinshrdlcumwfgypbvk", range(22, 0, -1)
    words = ["".join(rng.choices(letters, odds, k=rng.randint(2, 9))) for _ in range(_WORDS)]
    return " ".join(_zipf(rng, words, _POOL // 5)).encode()


@cache
def _code() -> bytes:
    rng = random.Random("code")
    return b"".join(_zipf(rng, [rng.randbytes(rng.randint(2, 9)) for _ in range(_WORDS)], _POOL // 5))


def _zipf(rng: random.Random, items: Sequence[Any], count: int) -> list[Any]:
    """Items as often as words of a language are."""
    weights = list(itertools.accumulate(1 / rank for rank in range(1, len(items) + 1)))
    return rng.choices(items, cum_weights=weights, k=count)


def _image(
    folder: Path, name: str, layers: Sequence[_Layer], arch: str = "amd64", *, docker: bool = False
) -> Image:
    config = {
        "architecture": arch,
        "os": "linux",
        "config": {"Cmd": ["/bin/sh"], "Labels": {"org.example.name": name}},
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in layers]},
        "history": [{"created_by": "bench"} for _ in layers],
    }
    types = (DOCKER_CONFIG, DOCKER_LAYER) if docker else (OCI_CONFIG, OCI_LAYER_GZIP)
    blobs = [_document(folder, config, types[0]), *((layer.digest, types[1], layer.size) for layer in layers)]
    manifest = {
        "schemaVersion": 2,
        "mediaType": DOCKER_MANIFEST if docker else OCI_MANIFEST,
        "config": _entry(blobs[0]),
        "layers": [_entry(blob) for blob in blobs[1:]],
    }
    root = _document(folder, manifest, str(manifest["mediaType"]))
    return Image(name, *root, sum(layer.unpacked for layer in layers), blobs, [root])


def _index(folder: Path, name: str, layers: dict[str, _Layer]) -> Image:
    images = {arch: _image(folder, name, [layer], arch) for arch, layer in layers.items()}
    entries = [
        _entry(image.documents[0]) | {"platform": {"architecture": arch, "os": "linux"}}
        for arch, image in images.items()
    ]
    index = {"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": entries}
    root = _document(folder, index, OCI_INDEX)
    blobs = [blob for image in images.values() for blob in image.blobs]
    documents = [image.documents[0] for image in images.values()]
    unpacked = sum(layer.unpacked for layer in layers.values())
    return Image(name, *root, unpacked, blobs, [*documents, root])


def _entry(blob: tuple[str, str, int]) -> dict[str, object]:
    digest, media_type, size = blob
    return {"mediaType": media_type, "digest": digest, "size": size}


def _document(folder: Path, value: object, media_type: str) -> tuple[str, str, int]:
    raw = json.dumps(value, indent=1).encode()
    digest = Digest.of(raw)
    (folder / digest.path).write_bytes(raw)
    return str(digest), media_type, len(raw)
