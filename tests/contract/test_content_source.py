"""What every `ContentSource` does."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from airgap.endpoints.ports import ContentSource
from airgap.errors import EndpointError, IntegrityError, NotFoundError
from airgap.oci.digest import CHUNK, CheckedReader, Digest, copy
from airgap.oci.documents import (
    OCI_LAYER_TAR,
    Descriptor,
    ImageManifest,
    check_size_and_digest,
    parse_document,
)
from airgap.oci.reference import ImageReference
from tests.contract.worlds import SOURCES, SourceWorld
from tests.support.images import Image, Layer, make_image, make_index, noise, simple_image

API = make_image([Layer.of({"big": noise(2 * CHUNK + 9, 1)}), Layer.of({"small": b"x"}, "none")])
OLD = simple_image("old", docker=True)
INDEX = make_index([API, simple_image("arm", platform="linux/arm64")])
DOCKER_INDEX = make_index([OLD], docker=True)
IMAGES = {"acme/api:2.3": API, "acme/old:1": OLD, "acme/api:all": INDEX, "acme/old:list": DOCKER_INDEX}
REFERENCE = ImageReference.parse("acme/api:2.3")
NOTHING = Digest.of(b"nothing")


@pytest.fixture(params=SOURCES.values(), ids=SOURCES)
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SourceWorld]:
    with request.param(tmp_path / "images", IMAGES) as world:
        yield world


@pytest.fixture
def source(world: SourceWorld) -> ContentSource:
    return world.source


def blob_of(digest: Digest, image: Image = API) -> Descriptor:
    return Descriptor(OCI_LAYER_TAR, digest, len(image.contents[digest]))


def read_all(source: ContentSource, descriptor: Descriptor, offset: int = 0) -> bytes:
    out = bytearray()
    with closing(source.open_blob(REFERENCE, descriptor, offset)) as stream:
        copy(stream, out.extend)
    return bytes(out)


def test_it_has_a_name_to_show(source: ContentSource):
    kind, colon, where = source.name.partition(":")
    assert kind in ("oci", "registry")
    assert colon
    assert where


@pytest.mark.parametrize(("name", "image"), IMAGES.items(), ids=IMAGES)
def test_a_tag_means_its_image(source: ContentSource, name: str, image: Image):
    found = source.resolve(ImageReference.parse(name))
    wanted = image.descriptor
    assert (found.digest, found.size, found.media_type) == (wanted.digest, wanted.size, wanted.media_type)


@pytest.mark.parametrize(
    "text",
    ["acme/api@{}", "acme/api:2.3@{}", "acme/api:no-such-tag@{}"],
    ids=["alone", "both", "unknown tag"],
)
def test_the_digest_wins(source: ContentSource, text: str):
    reference = ImageReference.parse(text.format(INDEX.descriptor.digest))
    assert source.resolve(reference).digest == INDEX.descriptor.digest


@pytest.mark.parametrize(("name", "image"), IMAGES.items(), ids=IMAGES)
def test_documents_come_byte_for_byte(source: ContentSource, name: str, image: Image):
    reference = ImageReference.parse(name)
    descriptor = source.resolve(reference)
    raw = source.read_document(reference, descriptor)
    assert raw == image.raw
    document = parse_document(raw, descriptor.media_type, name)
    for child in () if isinstance(document, ImageManifest) else document.manifests:
        assert source.read_document(reference, child) == image.contents[child.digest]


def test_blobs_come_byte_for_byte(source: ContentSource):
    for digest in (API.config, *API.layers):
        assert read_all(source, blob_of(digest)) == API.contents[digest]


@pytest.mark.parametrize("offset", [1, CHUNK, CHUNK + 1, -1, 0])
def test_a_blob_comes_from_an_offset(source: ContentSource, offset: int):
    blob = blob_of(API.layers[0])
    offset %= blob.size
    assert read_all(source, blob, offset) == API.contents[blob.digest][offset:]


def test_there_are_no_bytes_after_the_last(source: ContentSource):
    blob = blob_of(API.layers[1])
    assert read_all(source, blob, blob.size) == b""


def test_a_small_buffer_will_do(source: ContentSource):
    blob = blob_of(API.config)
    out = bytearray()
    buffer = memoryview(bytearray(7))
    with closing(source.open_blob(REFERENCE, blob)) as stream:
        while got := stream.readinto(buffer):
            out += buffer[:got]
        assert stream.readinto(buffer) == 0
    assert out == API.contents[API.config]


def test_a_stream_may_be_left_early(source: ContentSource):
    blob = blob_of(API.layers[0])
    for _ in range(3):
        with closing(source.open_blob(REFERENCE, blob)) as stream:
            assert stream.readinto(memoryview(bytearray(10)))
    assert read_all(source, blob) == API.contents[blob.digest]


def test_several_threads_may_read(source: ContentSource):
    digests = [*API.layers, API.config] * 4
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda digest: read_all(source, blob_of(digest)), digests))
    assert found == [API.contents[digest] for digest in digests]


@pytest.mark.parametrize(
    "text",
    ["acme/api:2.4", "acme/nobody:1", "nobody/api:2.3", f"acme/api@{NOTHING}", f"acme/api:2.3@{NOTHING}"],
)
def test_an_unknown_name_is_not_found(source: ContentSource, text: str):
    with pytest.raises(NotFoundError):
        source.resolve(ImageReference.parse(text))


def test_unknown_content_is_not_found(source: ContentSource):
    with pytest.raises(NotFoundError):
        source.read_document(REFERENCE, Descriptor(API.descriptor.media_type, NOTHING, 7))
    with pytest.raises(NotFoundError):
        source.open_blob(REFERENCE, Descriptor(OCI_LAYER_TAR, NOTHING, 7))
    with pytest.raises(NotFoundError):
        source.open_blob(REFERENCE, Descriptor(OCI_LAYER_TAR, NOTHING, 7), 3)


def test_content_that_goes_away_is_an_endpoint_error(world: SourceWorld):
    for digest in (API.descriptor.digest, API.layers[0]):
        world.replace(digest, None)
    with pytest.raises(EndpointError):
        world.source.read_document(REFERENCE, API.descriptor)
    with pytest.raises(EndpointError):
        world.source.open_blob(REFERENCE, blob_of(API.layers[0]))


def flipped(raw: bytes) -> bytes:
    return raw[:-1] + bytes([raw[-1] ^ 1])


CHANGES = {
    "flipped": flipped,
    "short": lambda raw: raw[:-1],
    "long": lambda raw: raw + b"x",
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
@pytest.mark.parametrize("digest", [API.layers[0], API.config], ids=["large", "small"])
def test_a_wrong_blob_never_comes_out_of_the_checking_reader(world: SourceWorld, digest: Digest, change):
    world.replace(digest, change(API.contents[digest]))
    blob = blob_of(digest)
    out = bytearray()
    with (
        pytest.raises((IntegrityError, EndpointError)),
        closing(CheckedReader(world.source.open_blob(REFERENCE, blob), blob.digest, blob.size)) as stream,
    ):
        copy(stream, out.extend)
    assert len(out) < blob.size


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_wrong_document_does_not_pass_the_check(world: SourceWorld, change):
    world.replace(API.descriptor.digest, change(API.raw))
    source = world.source
    with pytest.raises((IntegrityError, EndpointError)):
        check_size_and_digest(source.read_document(REFERENCE, API.descriptor), API.descriptor, REFERENCE)
