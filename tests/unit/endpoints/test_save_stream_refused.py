"""Image tars that are refused."""

import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.endpoints import save_format
from airgap.endpoints.archive import Archive
from airgap.errors import (
    AirgapError,
    AmbiguousError,
    DigestMismatchError,
    FormatError,
    IntegrityError,
    MissingContentError,
    NotFoundError,
    SizeMismatchError,
)
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_LAYER_GZIP
from tests.support.images import Layer, make_image, make_index
from tests.support.saves import (
    CONFIGS,
    IDS,
    TOPS,
    MemorySink,
    hybrid,
    item,
    saved_by_20,
    saved_by_28,
    tar,
)
from tests.unit.endpoints.save_support import A_NAME, B_NAME, IMAGES, A, changed, export


def _index_with(**changes: object) -> dict[str, bytes]:
    files = hybrid({A_NAME: IMAGES["a"]})
    index = json.loads(files["index.json"])
    index["manifests"][0] |= changes
    return {**files, "index.json": json.dumps(index).encode()}


def _without(files: dict[str, bytes], name: str) -> dict[str, bytes]:
    return {key: raw for key, raw in files.items() if key != name}


def _deep():
    image = IMAGES["a"]
    for _ in range(5):
        image = make_index([image])
    return image


S28, HYBRID = saved_by_28(), hybrid({A_NAME: IMAGES["a"]}, items=[item(IMAGES["a"], "t/a:1")])


LAYER = IMAGES["a"].layers[1].path


BAD_OCI = {
    "empty": ({}, FormatError, "not an image archive"),
    "only foreign files": ({"readme": b"hi", "x.json": b"{}"}, FormatError, "not an image archive"),
    "index is no JSON": ({**HYBRID, "index.json": b"{"}, FormatError, "not JSON"),
    "index is binary": ({**HYBRID, "index.json": b"\0"}, FormatError, "not a document"),
    "index is a manifest": ({**HYBRID, "index.json": IMAGES["a"].raw}, FormatError, "not an image index"),
    "duplicate key": ({**HYBRID, "index.json": b'{"manifests":[],"manifests":[]}'}, AmbiguousError, "duplicate key"),
    "case twin": ({**HYBRID, "index.json": b'{"manifests":[],"Manifests":[]}'}, AmbiguousError, "case only"),
    "no such name": (hybrid({B_NAME: IMAGES["a"]}), NotFoundError, "no such image"),
    "one name twice": (
        {**(two := hybrid({A_NAME: IMAGES["a"], B_NAME: IMAGES["b"]})),
         "index.json": two["index.json"].replace(B_NAME.encode(), A_NAME.encode())},
        AmbiguousError, "several images have the same name",
    ),
    "layer missing": (_without(HYBRID, LAYER), MissingContentError, "not in the archive"),
    "image manifest missing": (
        _without(HYBRID, IMAGES["a"].descriptor.digest.path), MissingContentError, "not in the archive",
    ),
    "no platform whole": (
        _without(hybrid({A_NAME: make_index([IMAGES["a"]])}), LAYER), MissingContentError, "no platform",
    ),
    "layer flipped": ({**HYBRID, LAYER: HYBRID[LAYER][:-1] + b"\1"}, DigestMismatchError, "wrong digest"),
    "layer swapped": ({**HYBRID, LAYER: HYBRID[IMAGES["a"].layers[0].path]}, IntegrityError, "wrong"),
    "layer longer than the manifest says": (
        hybrid({A_NAME: make_image([Layer(b"abc", OCI_LAYER_GZIP, IDS["a"])])})
        | {"blobs/sha256/" + Digest.of(b"abc").hex: b"abcd"}, IntegrityError, "wrong",
    ),
    "manifest document swapped": (
        {**HYBRID, IMAGES["a"].descriptor.digest.path: IMAGES["b"].raw}, IntegrityError, "wrong",
    ),
    "wrong size in index": (_index_with(size=3), SizeMismatchError, "wrong size"),
    "type of a layer in index": (_index_with(mediaType=OCI_LAYER_GZIP), FormatError, "unsupported media type"),
    "type differs": (
        _index_with(mediaType="application/vnd.docker.distribution.manifest.v2+json"), AmbiguousError, "differs",
    ),
    "digest tricks": (_index_with(digest="sha256:../../etc/passwd"), FormatError, "not a digest"),
    "bad name": (_index_with(annotations={"io.containerd.image.name": "Bad Name"}), NotFoundError, "no such image"),
    "two names": (
        _index_with(annotations={"io.containerd.image.name": A_NAME, "org.opencontainers.image.ref.name": B_NAME}),
        AmbiguousError, "two names",
    ),
    "nested too deep": (hybrid({A_NAME: _deep()}), FormatError, "nested too deeply"),
    "polyglot, same name": (
        hybrid({A_NAME: IMAGES["a"], "": IMAGES["b"]}, items=[item(IMAGES["b"], "t/a:1")]), AmbiguousError, "disagree",
    ),
    "polyglot, name only in manifest.json": (
        hybrid({A_NAME: IMAGES["a"]}, items=[item(IMAGES["a"], "t/a:1", "t/evil:1")]), AmbiguousError, "disagree",
    ),
    "broken manifest.json beside a good index.json": ({**HYBRID, "manifest.json": b"[{}]"}, FormatError, "wrong type"),
}  # fmt: skip


class TestBadOci:
    @pytest.mark.parametrize(("files", "kind", "message"), BAD_OCI.values(), ids=BAD_OCI)
    def test_refused(self, files, kind, message):
        with pytest.raises(kind, match=message):
            export(tar(files), repack=False)

    @pytest.mark.parametrize(("files", "kind", "message"), BAD_OCI.values(), ids=BAD_OCI)
    def test_refused_from_a_file(self, files, kind, message, tmp_path):
        (tmp_path / "x.tar").write_bytes(tar(files))
        with pytest.raises(kind):
            Archive(tmp_path / "x.tar").export([A], MemorySink(), lambda _: None)

    def test_too_many_nodes(self, monkeypatch):
        monkeypatch.setattr(save_format, "_MAX_NODES", 3)
        with pytest.raises(FormatError, match="too many image manifests"):
            export(tar(hybrid({A_NAME: make_index([make_index([IMAGES["a"]]), IMAGES["b"]])})), repack=False)

    def test_no_index_where_one_is_wanted(self):
        with pytest.raises(FormatError, match=r"want index\.json"):
            export(tar(*saved_by_20()), repack=False)


S20, LINKS = saved_by_20()


BAD_DOCKER = {
    "no manifest.json": (hybrid({A_NAME: IMAGES["a"]}), FormatError, r"want manifest\.json"),
    "object": ({**S20, "manifest.json": b"{}"}, FormatError, "wrong type"),
    "two documents": ({**S20, "manifest.json": b'[],"more":[]'}, FormatError, "unknown field"),
    "closed early": ({**S20, "manifest.json": b"[]}"}, FormatError, "not JSON"),
    "list of texts": ({**S20, "manifest.json": b'["x"]'}, FormatError, "wrong type"),
    "too large": ({**S20, "manifest.json": b" " * 513 + b"[]" + b" " * (4 << 20)}, FormatError, "not a document"),
    "no config": (changed(S20, Config=None), FormatError, "wrong type"),
    "config missing": (changed(S20, Config="x.json"), MissingContentError, "not in the archive"),
    "config outside": (changed(S20, Config="../../etc/passwd"), MissingContentError, "not in the archive"),
    "config is a layer": (changed(S20, Config="a1/layer.tar"), FormatError, "not a document"),
    "config of another name": (
        {**S20, f"{IDS['a'].hex}.json": CONFIGS["b"]}, DigestMismatchError, "wrong digest",
    ),
    "no rootfs": ({**changed(S20, Config="c"), "c": b'{"os":"linux"}'}, FormatError, "wrong type"),
    "too few layers": (changed(S20, Layers=["a1/layer.tar"]), FormatError, "layers do not match"),
    "layers swapped": (changed(S20, Layers=["a2/layer.tar", "a1/layer.tar"]), DigestMismatchError, "wrong layer"),
    "layer missing": (changed(S20, Layers=["a1/layer.tar", "x"]), MissingContentError, "not in the archive"),
    "layer through a link out": (changed(S20, Layers=["a1/layer.tar", "out"]), MissingContentError, "not in the arch"),
    "layer is text": (changed(S20, Layers=["a1/layer.tar", "a1/VERSION"]), MissingContentError, "not a layer"),
    "layer flipped": (
        {**S20, "a2/layer.tar": TOPS["a"].replace(b"aaa", b"bbb") + b"\0"}, DigestMismatchError, "wrong layer",
    ),
    "layer in zstd": (
        {**S20, "a2/layer.tar": b"\x28\xb5\x2f\xfd" + bytes(600)}, MissingContentError, "tar or gzip form",
    ),
    "layer in broken gzip": ({**S20, "a2/layer.tar": b"\x1f\x8b" + bytes(600)}, FormatError, "not gzip"),
    "plain blob of another name": (
        {**S28, Digest.of(TOPS["a"]).path: TOPS["b"] + bytes(512)}, IntegrityError, "wrong",
    ),
    "bad tag": (changed(S20, RepoTags=["t/A:1"]), NotFoundError, "no such image"),
    "tag of a number": (changed(S20, RepoTags=[1]), FormatError, "wrong type"),
    "polyglot": (changed(S28, RepoTags=["t/b:1"]), AmbiguousError, "disagree"),
}  # fmt: skip


class TestBadDocker:
    @pytest.mark.parametrize(("files", "kind", "message"), BAD_DOCKER.values(), ids=BAD_DOCKER)
    def test_refused(self, files, kind, message):
        with pytest.raises(kind, match=message):
            export(tar(files, LINKS | {"out": "../../etc/passwd"}), repack=True)

    def test_flipped_layer_of_the_same_size(self):
        layer = TOPS["a"][:520] + b"X" + TOPS["a"][521:]
        with pytest.raises(DigestMismatchError, match="wrong layer"):
            export(tar({**S20, "a2/layer.tar": layer}, LINKS), repack=True)

    @settings(max_examples=80, deadline=None)
    @given(st.integers(0, 2**32), st.booleans())
    def test_mutated(self, seed, repack):
        chance = random.Random(seed)
        raw = bytearray(tar(S28 if seed % 2 else S20, LINKS))
        for _ in range(chance.randint(1, 4)):
            raw[chance.randrange(len(raw))] = chance.choice([0, 32, 48, 255, chance.randrange(256)])
        sink = MemorySink()
        try:
            (found,) = export(bytes(raw), repack=repack, sink=sink)
        except AirgapError:
            return
        assert Digest.of(sink.contents[found.descriptor.digest]) == found.descriptor.digest
        assert found.image_id in (IDS["a"], found.descriptor.digest)
