"""What every `ContentTarget` does; all of them can be read again as a `ContentSource`."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from airgap.errors import AirgapError, DigestMismatchError, MediaError, SizeMismatchError, UnavailableError
from airgap.oci.digest import CHUNK, CheckedReader, Digest, copy
from airgap.oci.documents import OCI_LAYER_TAR, Descriptor, parse_document
from airgap.oci.reference import ImageReference
from tests.contract.worlds import TARGETS, Endpoint
from tests.support.images import Image, Layer, make_image, make_index, noise, simple_image
from tests.support.streams import BrokenStream, Bytes

API = make_image([Layer.of({"big": noise(2 * CHUNK + 9, 1)}), Layer.of({"small": b"x"}, "none")])
NEW = simple_image("new", docker=True)
INDEX = make_index([API, simple_image("arm", platform="linux/arm64")])
REFERENCE = ImageReference.parse("acme/api:2.3")


@pytest.fixture(params=TARGETS.values(), ids=TARGETS)
def target(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Endpoint]:
    with request.param(tmp_path / "target") as target:
        yield target


def blob_of(raw: bytes) -> Descriptor:
    return Descriptor(OCI_LAYER_TAR, Digest.of(raw), len(raw))


def documents(image: Image) -> list[Descriptor]:
    """The image's documents, the innermost first."""
    document = parse_document(image.raw, image.descriptor.media_type, "image")
    return [*getattr(document, "manifests", ()), image.descriptor]


def put(target: Endpoint, image: Image, reference: ImageReference = REFERENCE) -> None:
    wanted = documents(image)
    for digest, raw in image.contents.items():
        if digest not in {descriptor.digest for descriptor in wanted}:
            target.put_blob(reference, blob_of(raw), Bytes(raw))
    for descriptor in wanted:
        target.put_document(reference, descriptor, image.contents[descriptor.digest])
    target.tag(reference, image.descriptor, image.raw)


def read_blob(target: Endpoint, descriptor: Descriptor) -> bytes:
    out = bytearray()
    with closing(target.open_blob(REFERENCE, descriptor)) as stream:
        copy(stream, out.extend)
    return bytes(out)


def test_a_new_target_is_empty(target: Endpoint):
    assert target.find(REFERENCE) is None
    assert target.find(ImageReference.parse(f"acme/api@{API.descriptor.digest}")) is None
    assert not target.holds(REFERENCE, blob_of(b"content"))


@pytest.mark.parametrize("image", [API, NEW, INDEX], ids=["oci", "docker", "index"])
def test_stored_content_is_present(target: Endpoint, image: Image):
    put(target, image)
    assert target.find(REFERENCE) == image.descriptor.digest
    assert target.resolve(REFERENCE).media_type == image.descriptor.media_type
    found = documents(image)
    for descriptor in found:
        assert target.read_document(REFERENCE, descriptor) == image.contents[descriptor.digest]
    for digest in image.contents.keys() - {descriptor.digest for descriptor in found}:
        blob = blob_of(image.contents[digest])
        assert target.holds(REFERENCE, blob)
        assert read_blob(target, blob) == image.contents[digest]


def test_before_the_tag_there_is_no_name(target: Endpoint):
    target.put_blob(REFERENCE, blob_of(b"content"), Bytes(b"content"))
    target.put_document(REFERENCE, NEW.descriptor, NEW.raw)
    assert target.find(REFERENCE) is None


@pytest.mark.parametrize("raw", [b"", b"x", noise(CHUNK, 2)], ids=["empty", "one byte", "one chunk"])
def test_blobs_of_odd_sizes(target: Endpoint, raw: bytes):
    target.put_blob(REFERENCE, blob_of(raw), Bytes(raw, step=1000))
    assert target.holds(REFERENCE, blob_of(raw))
    assert read_blob(target, blob_of(raw)) == raw


def test_all_may_be_put_again(target: Endpoint):
    put(target, API)
    put(target, API)
    assert target.find(REFERENCE) == API.descriptor.digest
    assert read_blob(target, blob_of(API.contents[API.layers[0]])) == API.contents[API.layers[0]]


def test_a_name_moves_and_the_old_image_stays(target: Endpoint):
    put(target, API)
    put(target, NEW)
    assert target.find(REFERENCE) == target.resolve(REFERENCE).digest == NEW.descriptor.digest
    assert target.read_document(REFERENCE, API.descriptor) == API.raw


def test_one_image_may_have_several_names(target: Endpoint):
    names = [ImageReference.parse(f"acme/api:{tag}") for tag in ("1", "1.2", "latest")]
    for name in names:
        put(target, NEW, name)
    put(target, API)
    assert [target.find(name) for name in names] == [NEW.descriptor.digest] * 3


def test_find_asks_for_the_tag_before_the_digest(target: Endpoint):
    put(target, API)
    assert target.find(REFERENCE.with_digest(NEW.descriptor.digest)) == API.descriptor.digest
    other = ImageReference.parse(f"acme/api:none@{API.descriptor.digest}")
    assert target.find(other) is None


def test_an_image_may_have_no_tag(target: Endpoint):
    reference = ImageReference.parse(f"acme/api@{NEW.descriptor.digest}")
    put(target, NEW, reference)
    assert target.find(reference) == target.resolve(reference).digest == NEW.descriptor.digest


def test_a_blob_of_another_size_is_not_held(target: Endpoint):
    target.put_blob(REFERENCE, blob_of(b"content"), Bytes(b"content"))
    assert not target.holds(REFERENCE, Descriptor(OCI_LAYER_TAR, Digest.of(b"content"), 8))


RAW = noise(CHUNK + 50, 3)
STREAMS = {
    "flipped": (lambda: CheckedReader(Bytes(RAW[:-1] + b"x"), Digest.of(RAW), len(RAW)), DigestMismatchError),
    "checked, short": (lambda: CheckedReader(Bytes(RAW[:-1]), Digest.of(RAW), len(RAW)), SizeMismatchError),
    "short": (lambda: Bytes(RAW[:-1]), SizeMismatchError),
    "long": (lambda: Bytes(RAW + b"x"), SizeMismatchError),
    "nothing": (lambda: Bytes(b""), SizeMismatchError),
    "source breaks": (
        lambda: BrokenStream(RAW[:CHUNK], UnavailableError("source is gone")),
        UnavailableError,
    ),
    "disk breaks": (lambda: BrokenStream(b"", MediaError("disk is gone")), MediaError),
}


@pytest.mark.parametrize(("stream", "kind"), STREAMS.values(), ids=STREAMS)
def test_a_bad_stream_raises_its_error_and_leaves_no_content(
    target: Endpoint, stream, kind: type[AirgapError]
):
    with pytest.raises(kind):
        target.put_blob(REFERENCE, blob_of(RAW), stream())
    assert not target.holds(REFERENCE, blob_of(RAW))
    target.put_blob(REFERENCE, blob_of(RAW), Bytes(RAW))
    assert read_blob(target, blob_of(RAW)) == RAW


def test_several_threads_may_write(target: Endpoint):
    contents = [noise(50_000 + i, i) for i in range(8)] * 2

    def work(raw: bytes) -> None:
        target.put_blob(REFERENCE, blob_of(raw), Bytes(raw))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, contents))
    assert all(read_blob(target, blob_of(raw)) == raw for raw in contents)
