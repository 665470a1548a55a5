"""One pass over archives of every generation, good and bad, also through `Archive`, which must agree."""

import gzip
import io
import json
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.endpoints import save_format, save_stream
from airgap.endpoints.archive import Archive
from airgap.endpoints.save_stream import ContentKind, blob_digest, classify, export_archive
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
from airgap.oci.documents import DOCKER_CONFIG, OCI_LAYER_GZIP, parse_document
from airgap.oci.reference import ImageReference
from tests.support.images import Layer, make_image, make_index, noise
from tests.support.saves import (
    BASE,
    CONFIGS,
    IDS,
    TOPS,
    MemorySink,
    config_of,
    gzipped,
    hybrid,
    images,
    item,
    saved_by_20,
    saved_by_28,
    tar,
)

A, B = ImageReference.parse("t/a:1"), ImageReference.parse("t/b:1")
A_NAME, B_NAME = str(A), str(B)
IMAGES = images()


class Pipe:
    """A stream that cannot seek."""

    def __init__(self, raw: bytes) -> None:
        self._inner = io.BytesIO(raw)

    def readinto(self, buffer: memoryview) -> int:
        return self._inner.readinto(buffer[:3000])

    def close(self) -> None: ...


def export(raw: bytes, *wanted: ImageReference, repack: bool, sink: MemorySink | None = None):
    return export_archive(Pipe(raw), sink or MemorySink(), wanted or (A,), lambda _: None, repack=repack)


def changed(files: dict[str, bytes], **changes: object) -> dict[str, bytes]:
    """`files` with other keys in the first image of manifest.json."""
    items = json.loads(files["manifest.json"])
    items[0] |= changes
    return {**files, "manifest.json": json.dumps(items).encode()}


class TestDockerForm:
    @pytest.mark.parametrize("raw", [tar(*saved_by_20()), tar(saved_by_28())], ids=["20.10", "28"])
    def test_layers_are_repacked_identically_from_every_engine(self, raw):
        sink, bytes_seen = MemorySink(), []
        found = export_archive(Pipe(raw), sink, [B, A], bytes_seen.append, repack=True)
        assert [(image.reference, image.image_id, image.repacked) for image in found] == [
            (B, IDS["b"], True),
            (A, IDS["a"], True),
        ]
        manifest = parse_document(
            sink.contents[found[1].descriptor.digest], found[1].descriptor.media_type, "x"
        )
        assert sink.contents[manifest.config.digest] == CONFIGS["a"]
        assert [layer.media_type for layer in manifest.layers] == [OCI_LAYER_GZIP] * 2
        assert [gzip.decompress(sink.contents[layer.digest]) for layer in manifest.layers] == [
            BASE,
            TOPS["a"],
        ]
        assert [len(sink.contents[layer.digest]) for layer in manifest.layers] == [
            layer.size for layer in manifest.layers
        ]
        assert str(found[1].descriptor.platform) == "linux/amd64"
        assert sum(bytes_seen) == len(raw)
        assert len(sink.contents) == 3 + 2 + 2  # layers, configs, image manifests: no legacy JSON
        other = export(tar(saved_by_28()), A, repack=True)
        assert other[0].descriptor == found[1].descriptor

    def test_hard_links_lead_to_layers_too(self):
        raw = tar(*saved_by_20())
        at = raw.rindex(b"b1/layer.tar")
        block = bytearray(raw[at : at + 512])
        block[156:257] = b"1" + b"a1/layer.tar".ljust(100, b"\0")
        block[148:156] = b"%06o\0 " % (sum(block[:148]) + 8 * 32 + sum(block[156:]))
        assert export(raw[:at] + bytes(block) + raw[at + 512 :], B, repack=True)[0].image_id == IDS["b"]

    def test_by_image_id(self):
        wanted = ImageReference.parse("any/name").with_digest(IDS["b"])
        assert export(tar(*saved_by_20()), wanted, repack=True)[0].image_id == IDS["b"]

    def test_metadata_first(self):
        files, links = saved_by_20()
        assert export(tar(dict(reversed(files.items())), links), repack=True)[0].image_id == IDS["a"]

    def test_gzipped_layers_stay_as_they_are(self):
        layers = {
            f"{n}.tar.gz": gzip.compress(raw, mtime=0) for n, raw in (("base", BASE), ("top", TOPS["a"]))
        }
        items = [{"Config": f"sha256:{IDS['a'].hex}", "RepoTags": ["t/a:1"], "Layers": list(layers)}]
        files = {
            f"sha256:{IDS['a'].hex}": CONFIGS["a"],
            **layers,
            "manifest.json": json.dumps(items).encode(),
        }
        sink = MemorySink()
        export(tar(files), repack=True, sink=sink)
        assert set(layers.values()) <= set(sink.contents.values())

    def test_gzipped_layers_in_blobs(self):
        sink = MemorySink()
        (found,) = export(
            tar(hybrid({A_NAME: IMAGES["a"]}, items=[item(IMAGES["a"], "t/a:1")])), repack=True, sink=sink
        )
        manifest = parse_document(sink.contents[found.descriptor.digest], None, "x")
        assert tuple(layer.digest for layer in manifest.layers) == IMAGES["a"].layers
        assert found.image_id == IMAGES["a"].config

    def test_foreign_blobs_are_kept_as_they_are(self):
        foreign = b"\x28\xb5\x2f\xfd" + bytes(600)
        sink = MemorySink()
        assert export(tar(saved_by_28() | {Digest.of(foreign).path: foreign}), repack=True, sink=sink)[
            0
        ].repacked
        assert sink.contents[Digest.of(foreign)] == foreign

    def test_no_layers(self):
        config = config_of([])
        files = {
            "c.json": config,
            "manifest.json": b'[{"Config":"c.json","RepoTags":["t/a:1"],"Layers":null}]',
        }
        assert export(tar(files), repack=True)[0].image_id == Digest.of(config)

    def test_empty_layer(self):
        layer = bytes(1024)
        files = {"c": config_of([layer]), "l": layer, "manifest.json": b'[{"Config":"c","Layers":["l"]}]'}
        wanted = A.with_digest(Digest.of(files["c"]))
        assert export(tar(files), wanted, repack=True)[0].repacked


class TestOciForm:
    def test_keeps_every_byte(self):
        sink = MemorySink()
        found = export(
            tar(hybrid({A_NAME: IMAGES["a"], B_NAME: IMAGES["b"]}, items=[item(IMAGES["a"], "t/a:1")])),
            A, B, repack=False, sink=sink,
        )  # fmt: skip
        assert [(image.descriptor.digest, image.repacked) for image in found] == [
            (IMAGES["a"].descriptor.digest, False),
            (IMAGES["b"].descriptor.digest, False),
        ]
        assert found[0].image_id == found[0].descriptor.digest
        assert sink.contents == IMAGES["a"].contents | IMAGES["b"].contents

    def test_plain_layers_are_kept_when_not_repacking(self):
        sink = MemorySink()
        export(tar(saved_by_28()), repack=False, sink=sink)
        assert sink.contents[Digest.of(BASE)] == BASE

    def test_sparse_index_keeps_what_is_there(self):
        arm = make_image([Layer.of({"arm": b"arm"})], "linux/arm64")
        broken = make_image([Layer.of({"s390x": noise(2000, 1)})], "linux/s390x")
        index = make_index([IMAGES["a"], arm, broken])
        for digest in arm.contents:
            del index.contents[digest]
        del index.contents[broken.layers[0]]
        sink = MemorySink()
        (found,) = export(tar(hybrid({A_NAME: index})), repack=False, sink=sink)
        assert found.descriptor.digest == index.descriptor.digest
        assert sink.contents == {index.descriptor.digest: index.raw} | IMAGES["a"].contents

    def test_json_layers_and_unnamed_documents(self):
        sbom = Layer(b'{"sbom":1}', "application/vnd.in-toto+json", Digest.of(b"x"))
        image = make_image([sbom])
        files = hybrid({A_NAME: image}) | {Digest.of(b'{"other":1}').path: b'{"other":1}'}
        sink = MemorySink()
        export(tar(files), repack=False, sink=sink)
        assert sink.contents == image.contents

    def test_documents_beyond_the_memory_go_through_the_sink(self, monkeypatch):
        monkeypatch.setattr(save_stream, "MAX_KEPT_DOCUMENTS_BYTES", 1500)
        files = hybrid({A_NAME: IMAGES["a"], B_NAME: IMAGES["b"]})
        files = {"index.json": files.pop("index.json")} | files
        sink = MemorySink()
        export(tar(files), A, B, repack=False, sink=sink)
        assert sink.contents == IMAGES["a"].contents | IMAGES["b"].contents

    def test_nested_index(self):
        index = make_index([make_index([IMAGES["a"]])])
        assert (
            export(tar(hybrid({A_NAME: index})), repack=False)[0].descriptor.digest == index.descriptor.digest
        )

    @pytest.mark.parametrize(
        ("annotations", "wanted"),
        [
            ({"org.opencontainers.image.ref.name": "docker.io/t/a:1"}, A),
            ({"org.opencontainers.image.ref.name": "1", "io.containerd.image.name": "docker.io/t/a:1"}, A),
            ({"org.opencontainers.image.ref.name": "1"}, A.with_digest(IMAGES["a"].descriptor.digest)),
            ({}, A.with_digest(IMAGES["a"].descriptor.digest)),
        ],
    )
    def test_names(self, annotations, wanted):
        files = hybrid({A_NAME: IMAGES["a"]})
        index = json.loads(files["index.json"])
        index["manifests"][0]["annotations"] = annotations
        files["index.json"] = json.dumps(index).encode()
        assert export(tar(files), wanted, repack=False)[0].reference == wanted

    def test_two_docker_items_may_share_an_image_and_one_name_is_enough(self):
        """As the containerd store writes it: manifest.json has one of the names."""
        files = hybrid(
            {A_NAME: IMAGES["a"], B_NAME: make_index([IMAGES["a"]])}, items=[item(IMAGES["a"], "t/b:1")]
        )
        assert len(export(tar(files), A, B, repack=False)) == 2


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

    @settings(max_examples=150, deadline=None)
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


class TestParts:
    @pytest.mark.parametrize(
        ("head", "content"),
        [
            (BASE[:512], "tar"), (bytes(512), "tar"), (bytes(511), "other"), (b"", "other"),
            (b"\x1f\x8b\x08", "gzip"), (b"\x28\xb5\x2f\xfd", "zstd"), (b' \n{"a":1}', "document"),
            (b"[]", "document"), (b"1.0", "other"),
        ],
    )  # fmt: skip
    def test_classify(self, head, content):
        assert classify(head) is ContentKind[content.upper()]

    @pytest.mark.parametrize(
        "name",
        ["blobs/sha256/xyz", "blobs/md5/" + "0" * 32, "x/sha256/" + "0" * 64, "blobs/sha256", "layer.tar"],
    )
    def test_no_blob_names(self, name):
        assert blob_digest(name) is None

    def test_blob_name(self):
        assert blob_digest(IDS["a"].path) == IDS["a"]

    def test_docker_media_types_are_kept(self):
        image = make_image([gzipped(BASE)], docker=True)
        (found,) = export(tar(hybrid({A_NAME: image})), repack=False)
        assert found.descriptor.media_type == image.descriptor.media_type
        assert DOCKER_CONFIG.encode() in image.raw
