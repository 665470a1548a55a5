"""Image tars of engines, read from a stream."""

import gzip
import json

import pytest

from airgap.endpoints import save_stream
from airgap.endpoints.save_stream import ContentKind, blob_digest, classify, export_archive
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
    item,
    saved_by_20,
    saved_by_28,
    tar,
)
from tests.unit.endpoints.save_support import A_NAME, B_NAME, IMAGES, A, B, Pipe, export


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
