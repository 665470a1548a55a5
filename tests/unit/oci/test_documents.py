import base64
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.errors import AmbiguousError, DigestMismatchError, FormatError, SizeMismatchError
from airgap.limits import MAX_BLOB_BYTES
from airgap.oci.digest import Digest
from airgap.oci.documents import (
    DOCKER_CONFIG,
    DOCKER_INDEX,
    DOCKER_MANIFEST,
    OCI_CONFIG,
    OCI_INDEX,
    OCI_LAYER_GZIP,
    OCI_MANIFEST,
    Descriptor,
    ImageConfig,
    ImageIndex,
    ImageManifest,
    chain_ids,
    check_size_and_digest,
    parse_document,
    runnable_config,
    subject_of,
)
from airgap.oci.platform import UNKNOWN, Platform
from tests.support.images import make_index, simple_image

RAW = b"content"
DIGEST = Digest.of(RAW)
PLAIN = {"mediaType": OCI_LAYER_GZIP, "digest": str(DIGEST), "size": len(RAW)}
FOREIGN = {**PLAIN, "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"}
IMAGE = simple_image("x")
MANIFEST = json.loads(IMAGE.raw)
INDEX = make_index([simple_image("a"), simple_image("b", platform="linux/arm64")])
CONFIG = json.loads(IMAGE.contents[IMAGE.config])


def dumped(value):
    return json.dumps(value).encode()


class TestDescriptor:
    def test_plain(self):
        found = Descriptor.parse(PLAIN, "f")
        assert found == Descriptor(OCI_LAYER_GZIP, DIGEST, len(RAW))
        assert found.to_json() == PLAIN

    def test_with_everything(self):
        value = {
            "mediaType": OCI_MANIFEST,
            "artifactType": "text/x",
            "digest": str(DIGEST),
            "size": 7,
            "annotations": {"a": "1", "b": "2"},
            "platform": {"architecture": "arm", "os": "linux", "variant": "v6"},
        }
        found = Descriptor.parse(value, "f")
        assert found.platform == Platform("linux", "arm", "v6")
        assert list(found.to_json()) == list(value)
        assert found.to_json() == value
        for os, architecture in (("", "amd64"), ("linux", ""), ("", "")):
            empty = {"architecture": architecture, "os": os}
            assert Descriptor.parse({**value, "platform": empty}, "f").platform is None
        for empty in ({}, None):
            assert Descriptor.parse({**value, "platform": empty}, "f").platform is None
        plain = Descriptor.parse({**value, "platform": {"architecture": "amd64", "os": "linux"}}, "f")
        assert plain.platform == Platform("linux", "amd64")
        assert plain.to_json()["platform"] == {"architecture": "amd64", "os": "linux"}

    def test_the_largest_size(self):
        assert Descriptor.parse({**PLAIN, "size": MAX_BLOB_BYTES}, "f").size == MAX_BLOB_BYTES

    def test_addresses_of_a_foreign_layer(self):
        urls = ["https://x.test/1"] * 16
        manifest = {**MANIFEST, "layers": [{**FOREIGN, "urls": urls}]}
        (layer,) = parse_document(dumped(manifest), None, "f").layers
        assert layer.urls == tuple(urls)
        assert "urls" not in layer.to_json()

    @pytest.mark.parametrize(
        ("changes", "layer", "words"),
        [
            ({"urls": ["https://x.test/1"] * 17}, True, "bad addresses of a foreign layer (urls): f sha256:"),
            ({"urls": ["https://x.test/1", "http://x.test/1"]}, True, "bad addresses of a foreign layer"),
            ({"urls": ["https://x.test/1\n"]}, True, "bad addresses of a foreign layer"),
            ({"urls": "https://x.test/1"}, True, "f: urls"),
            ({"urls": ["https://x.test/1"]}, False, "content kept elsewhere"),
            ({"urls": ["https://x.test/1"], "mediaType": OCI_LAYER_GZIP}, True, "content kept elsewhere"),
        ],
    )
    def test_bad_addresses(self, changes, layer, words):
        with pytest.raises(FormatError) as caught:
            Descriptor.parse({**FOREIGN, **changes}, "f", layer=layer)
        assert words in str(caught.value)

    def test_embedded_data_that_matches_is_accepted(self):
        value = {**PLAIN, "data": base64.b64encode(RAW).decode()}
        assert Descriptor.parse(value, "f") == Descriptor.parse(PLAIN, "f")

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"mediaType": None}, "f: mediaType"),
            ({"mediaType": 1}, "f: mediaType"),
            ({"digest": None}, "f: digest"),
            ({"digest": "sha256:../.."}, "not a digest: f"),
            ({"digest": str(DIGEST).upper()}, "not a digest"),
            ({"size": None}, "f: size"),
            ({"size": "7"}, "f: size"),
            ({"size": -1}, "negative: f: size"),
            ({"size": True}, "f: size"),
            ({"size": MAX_BLOB_BYTES + 1}, "too large: f, want at most 1,099,511,627,776 bytes"),
            ({"urls": ["https://x.test"]}, "content kept elsewhere (urls) cannot cross the gap: f sha256:"),
            ({"urls": "x"}, "content kept elsewhere"),
            ({"data": "%%%"}, "embedded data is not base64"),
            ({"data": "é"}, "embedded data is not base64"),
            ({"data": ""}, "embedded data differs from the digest"),
            ({"data": base64.b64encode(b"CONTENT").decode()}, "embedded data differs"),
            ({"data": base64.b64encode(RAW).decode(), "size": 8}, "embedded data differs"),
            ({"data": 1}, "f: data"),
            ({"platform": []}, "f: platform"),
            ({"platform": {"os": "linux"}}, "f: platform: architecture"),
            ({"platform": {"os": "linux", "architecture": "arm", "variant": 7}}, "f: platform: variant"),
            ({"annotations": []}, "f: annotations"),
            ({"annotations": {"a": None}}, "f: annotations"),
            ({"artifactType": []}, "f: artifactType"),
        ],
    )
    def test_refused(self, changes, words):
        with pytest.raises(FormatError) as caught:
            Descriptor.parse({**PLAIN, **changes}, "f")
        assert words in str(caught.value)

    @pytest.mark.parametrize("value", [None, [], "x", 7])
    def test_no_object(self, value):
        with pytest.raises(FormatError, match="want an object"):
            Descriptor.parse(value, "f")


class TestDocument:
    def test_manifest(self):
        found = parse_document(IMAGE.raw, OCI_MANIFEST, "f")
        assert isinstance(found, ImageManifest)
        assert found.is_image
        assert (found.raw, found.digest) == (IMAGE.raw, IMAGE.descriptor.digest)
        assert found.config.digest == IMAGE.config
        assert [blob.digest for blob in found.blobs] == [IMAGE.config, *IMAGE.layers]
        assert found.subject is None

    def test_artifact(self):
        value = {
            **MANIFEST,
            "config": {**PLAIN, "mediaType": "text/x"},
            "subject": PLAIN,
            "artifactType": "y/z",
        }
        found = parse_document(dumped(value), None, "f")
        assert not found.is_image
        assert found.subject.digest == DIGEST
        assert found.artifact_type == "y/z"

    @pytest.mark.parametrize(
        "changes",
        [
            {"config": {**PLAIN, "mediaType": "text/x"}},
            {"layers": [*MANIFEST["layers"], {**PLAIN, "mediaType": "text/x"}]},
            {"subject": PLAIN},
        ],
    )
    def test_one_thing_makes_an_artifact(self, changes):
        assert not parse_document(dumped({**MANIFEST, **changes}), None, "f").is_image

    def test_go_writes_null_for_no_layers(self):
        assert parse_document(dumped({**MANIFEST, "layers": None}), None, "f").layers == ()

    @pytest.mark.parametrize("value", [MANIFEST, json.loads(INDEX.raw)])
    def test_annotations(self, value):
        assert parse_document(dumped({**value, "annotations": {"a": "b"}}), None, "f").annotations == {
            "a": "b"
        }

    def test_subject(self):
        assert subject_of(dumped({**MANIFEST, "subject": PLAIN}), "f") == DIGEST
        assert subject_of(IMAGE.raw, "f") is None

    def test_content_named_twice_is_one_blob(self):
        value = {**MANIFEST, "layers": [PLAIN, PLAIN]}
        assert len(parse_document(dumped(value), None, "f").blobs) == 2

    def test_index(self):
        found = parse_document(INDEX.raw, OCI_INDEX, "f")
        assert isinstance(found, ImageIndex)
        assert found.digest == INDEX.descriptor.digest
        assert [str(entry.platform) for entry in found.manifests] == ["linux/amd64", "linux/arm64"]

    @pytest.mark.parametrize(
        ("value", "media_type", "found"),
        [
            (MANIFEST, None, OCI_MANIFEST),
            ({**MANIFEST, "mediaType": None}, None, OCI_MANIFEST),
            ({**MANIFEST, "mediaType": None}, DOCKER_MANIFEST, DOCKER_MANIFEST),
            ({**MANIFEST, "mediaType": DOCKER_MANIFEST}, None, DOCKER_MANIFEST),
            ({"schemaVersion": 2, "manifests": []}, None, OCI_INDEX),
            ({"schemaVersion": 2, "manifests": []}, DOCKER_INDEX, DOCKER_INDEX),
            ({"schemaVersion": 2, "manifests": [], "mediaType": DOCKER_INDEX}, None, DOCKER_INDEX),
        ],
    )
    def test_kind(self, value, media_type, found):
        assert parse_document(dumped(value), media_type, "f").media_type == found

    @pytest.mark.parametrize(
        ("value", "media_type", "words"),
        [
            ({**MANIFEST, "manifests": []}, OCI_MANIFEST, "got layers, config, manifests"),
            ({"schemaVersion": 2, "manifests": [], "layers": []}, OCI_INDEX, "neither an image manifest nor"),
            ({"schemaVersion": 2, "manifests": [], "config": PLAIN}, OCI_INDEX, "neither"),
            ({"schemaVersion": 2, "manifests": [], "fsLayers": None}, OCI_INDEX, "neither"),
            ({"schemaVersion": 2}, OCI_INDEX, "got none of them"),
            ({"schemaVersion": 2, "config": PLAIN}, OCI_MANIFEST, "neither"),
            (MANIFEST, OCI_INDEX, "mediaType differs from the descriptor's"),
            (MANIFEST, DOCKER_MANIFEST, "mediaType differs from the descriptor's"),
            ({**MANIFEST, "mediaType": None}, OCI_INDEX, "mediaType does not fit the content"),
            ({**MANIFEST, "mediaType": OCI_INDEX}, None, "mediaType does not fit the content"),
            ({**MANIFEST, "mediaType": "text/x"}, None, "mediaType does not fit the content"),
            ({"schemaVersion": 2, "manifests": []}, OCI_MANIFEST, "mediaType does not fit the content"),
        ],
    )
    def test_ambiguous(self, value, media_type, words):
        with pytest.raises(AmbiguousError) as caught:
            parse_document(dumped(value), media_type, "f")
        assert words in str(caught.value)

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            ({**MANIFEST, "schemaVersion": 1}, "unsupported schemaVersion: f, want 2, got 1"),
            ({**MANIFEST, "schemaVersion": "2"}, "f: schemaVersion"),
            ({**MANIFEST, "mediaType": 2}, "f: mediaType"),
            ({**MANIFEST, "layers": {}}, "f: layers"),
            ({**MANIFEST, "layers": [PLAIN, {}]}, "f: layers[1]"),
            ({**MANIFEST, "config": []}, "f: config"),
            ({**MANIFEST, "subject": []}, "f: subject"),
            ({**MANIFEST, "artifactType": 1}, "f: artifactType"),
            ({"schemaVersion": 2, "manifests": None}, "f: manifests"),
            ({"schemaVersion": 2, "manifests": [7]}, "f: manifests[0]"),
            ({"schemaVersion": 2, "manifests": [], "annotations": {"a": 1}}, "f: annotations"),
        ],
    )
    def test_refused(self, value, words):
        with pytest.raises(FormatError) as caught:
            parse_document(dumped(value), None, "f")
        assert words in str(caught.value)

    @settings(max_examples=200)
    @given(
        st.dictionaries(
            st.sampled_from(["schemaVersion", "mediaType", "config", "layers", "manifests", "fsLayers"]),
            st.sampled_from([2, 1, None, [], {}, PLAIN, [PLAIN], OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST]),
        ),
        st.sampled_from([None, OCI_MANIFEST, OCI_INDEX, DOCKER_MANIFEST, "text/x"]),
    )
    def test_is_what_its_descriptor_says_or_refused(self, value, media_type):
        try:
            found = parse_document(dumped(value), media_type, "f")
        except FormatError:
            return
        assert media_type in (None, found.media_type)
        assert isinstance(found, ImageIndex) == ("manifests" in value)
        assert ("layers" in value) != ("manifests" in value)


class TestConfig:
    def test_read(self):
        assert ImageConfig.parse(dumped(CONFIG)).platform == Platform("linux", "amd64")
        found = ImageConfig.parse(dumped({**CONFIG, "architecture": "arm", "variant": "v6"}))
        assert found.platform == Platform("linux", "arm", "v6")
        assert len(found.diff_ids) == 1

    @pytest.mark.parametrize(
        "changes",
        [{"os": None}, {"os": ""}, {"architecture": None}, {"architecture": ""}, {"os": "", "variant": "v7"}],
    )
    def test_a_config_that_names_no_platform(self, changes):
        assert ImageConfig.parse(dumped({**CONFIG, **changes})).platform == UNKNOWN

    @pytest.mark.parametrize("rootfs", [{"type": "layers"}, {"type": "layers", "diff_ids": None}])
    def test_no_layers(self, rootfs):
        assert ImageConfig.parse(dumped({**CONFIG, "rootfs": rootfs})).diff_ids == ()

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"rootfs": None}, "f: rootfs"),
            ({"rootfs": {"type": "tar"}}, "unknown rootfs type: f, want layers, got tar"),
            ({"rootfs": {"type": "layers", "diff_ids": "x"}}, "diff_ids"),
            ({"rootfs": {"type": "layers", "diff_ids": ["x"]}}, "not a digest: f: diff_ids"),
            ({"os": 1}, "f: os"),
            ({"architecture": 1}, "f: architecture"),
            ({"variant": 1}, "f: variant"),
        ],
    )
    def test_refused(self, changes, words):
        with pytest.raises(FormatError) as caught:
            ImageConfig.parse(dumped({**CONFIG, **changes}), "f")
        assert words in str(caught.value)

    def test_a_config_without_layers_cannot_be_run(self):
        assert runnable_config(dumped(CONFIG), "f") == ImageConfig.parse(dumped(CONFIG))
        assert runnable_config(b"{}", "f") is None

    def test_chain_ids(self):
        one, two = Digest.of(b"1"), Digest.of(b"2")
        assert chain_ids([]) == []
        assert chain_ids([one, two]) == [one, Digest.of(f"{one} {two}".encode())]

    @pytest.mark.parametrize("media_type", [OCI_CONFIG, DOCKER_CONFIG])
    def test_type_makes_an_image(self, media_type):
        value = {**MANIFEST, "config": {**PLAIN, "mediaType": media_type}}
        assert parse_document(dumped(value), None, "f").is_image


class TestCheck:
    @pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
    def test_right(self, algorithm):
        descriptor = Descriptor("x", Digest.of(RAW, algorithm), len(RAW))
        assert check_size_and_digest(RAW, descriptor, "f") is RAW

    @pytest.mark.parametrize(
        ("raw", "error"),
        [(b"conten", SizeMismatchError), (b"content!", SizeMismatchError), (b"CONTENT", DigestMismatchError)],
    )
    def test_wrong(self, raw, error):
        with pytest.raises(error, match=r"^wrong .*: f, want "):
            check_size_and_digest(raw, Descriptor("x", DIGEST, len(RAW)), "f")
