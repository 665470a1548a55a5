"""The Docker endpoint and archives on real engines: 20.10, 28 with either image store."""

import gzip
from pathlib import Path

import pytest

from airgap.endpoints.archive import Archive
from airgap.endpoints.docker.engine import DockerEngine
from airgap.errors import DigestMismatchError, EndpointError, NotFoundError
from airgap.oci.digest import Digest
from airgap.oci.documents import parse_document
from airgap.oci.reference import ImageReference
from tests.support.engines import Engine
from tests.support.images import Image, Layer, make_image, make_index, noise
from tests.support.saves import MemorySink, hybrid, item, tar

pytestmark = pytest.mark.e2e

A, B = ImageReference.parse("t/a:1"), ImageReference.parse("registry.example/t/b:2")
BASE = Layer.of({"base.bin": noise(300_000, 1)})
IMAGES = {
    A: make_image([BASE, Layer.of({"a": b"a"})], label="a"),
    B: make_image([BASE, Layer.of({"b": b"b"})], label="b"),
}
ARM = make_image([BASE, Layer.of({"arm": b"arm"})], "linux/arm64")


def stream(images: dict[ImageReference, Image]) -> bytes:
    """The form that every engine loads."""
    items = [item(image, name.familiar) for name, image in images.items() if image.config]
    return tar(hybrid({str(name): image for name, image in images.items()}, items=items))


def chunks(raw: bytes) -> list[bytes]:
    return [raw[at : at + 65536] for at in range(0, len(raw), 65536)]


def connect(engine: Engine) -> DockerEngine:
    return DockerEngine(f"docker:{engine.host}", timeout=120)


def export(source: DockerEngine | Archive, *references: ImageReference):
    sink = MemorySink()
    return source.export(references, sink, lambda _: None), sink.contents


def image_id(image: Image, docker: DockerEngine) -> Digest | None:
    return image.descriptor.digest if docker.info().keeps_index else image.config


@pytest.fixture
def docker(engine: Engine) -> DockerEngine:
    """Each engine, holding both images."""
    docker = connect(engine)
    docker.load(chunks(stream(IMAGES)))
    return docker


def test_info(docker20: Engine, docker28: Engine, docker28c: Engine):
    found = [connect(engine).info() for engine in (docker20, docker28, docker28c)]
    assert [(info.keeps_index, info.zstd_layers) for info in found] == [
        (False, False),
        (False, True),
        (True, True),
    ]
    assert [info.version.split(".")[0] for info in found] == ["20", "28", "28"]
    assert {info.platform.os for info in found} == {"linux"}


def test_load_find_tag_untag(docker: DockerEngine, engine: Engine):
    for name, image in IMAGES.items():
        assert docker.find(name) == docker.identify(name) == image_id(image, docker)
        assert docker.find_id(image_id(image, docker))
        assert engine.inspect(name.familiar)["Id"] == str(image_id(image, docker))
    other = ImageReference.parse("localhost:5000/other/name:x")
    docker.tag(docker.find(A), other)
    assert docker.find(other) == docker.find(A)
    docker.untag(other)
    docker.untag(other)
    assert docker.find(other) is None
    assert docker.find(A) is not None
    assert docker.find(ImageReference.parse("not/there")) is None
    assert not docker.find_id(Digest.of(b"not there"))


def test_export_of_several_in_one_pass(docker: DockerEngine):
    found, contents = export(docker, B, A)
    assert [image.reference for image in found] == [B, A]
    for exported in found:
        image = IMAGES[exported.reference]
        assert exported.image_id == image_id(image, docker)
        assert exported.repacked is not docker.info().keeps_index
        document = parse_document(contents[exported.descriptor.digest], exported.descriptor.media_type, "x")
        assert document.config.digest == image.config
        assert contents[image.config] == image.contents[image.config]
        plain = [gzip.decompress(contents[layer.digest]) for layer in document.layers]
        assert plain == [gzip.decompress(image.contents[layer]) for layer in image.layers]
        if docker.info().keeps_index:
            assert document.raw == image.raw


def test_the_engines_own_save_in_a_file_is_the_same(docker: DockerEngine, engine: Engine, tmp_path: Path):
    engine.docker("save", "-o", tmp_path / "saved.tar", A.familiar, B.familiar)
    archive = Archive(tmp_path / "saved.tar")
    assert {name for image in archive.list_images() for name in image.names} == {A, B}
    found, contents = export(archive, A, B)
    for exported in found:
        document = parse_document(contents[exported.descriptor.digest], None, "x")
        assert document.config.digest == IMAGES[exported.reference].config
    if docker.info().keeps_index:
        assert (found, contents) == export(docker, A, B)


def test_classic_engines_of_all_versions_give_the_same(docker20: Engine, docker28: Engine):
    results = []
    for engine in (docker20, docker28):
        connect(engine).load(chunks(stream(IMAGES)))
        results.append(export(connect(engine), A, B))
    assert results[0] == results[1]


def test_without_a_tag(docker: DockerEngine):
    wanted = A.with_digest(docker.identify(A))
    found, _ = export(docker, ImageReference.parse(f"any/name@{wanted.digest}"))
    assert found[0].image_id == wanted.digest
    with pytest.raises(NotFoundError):
        docker.identify(ImageReference.parse(f"t/a@{Digest.of(b'other')}"))


def test_sparse_index_of_the_containerd_store(docker28c: Engine):
    index = make_index([IMAGES[A], ARM])
    index.config, index.layers = IMAGES[A].config, IMAGES[A].layers
    for digest in ARM.contents:
        if digest not in IMAGES[A].contents:
            del index.contents[digest]
    docker = connect(docker28c)
    docker.load(chunks(stream({A: index})))
    assert docker.find(A) == index.descriptor.digest
    assert docker.find_id(index.descriptor.digest)
    found, contents = export(docker, A)
    assert found[0].descriptor.digest == index.descriptor.digest
    assert contents == index.contents


@pytest.mark.parametrize("fault", ["missing", "flipped"])
def test_a_broken_layer_is_an_error_on_every_engine(engine: Engine, fault: str):
    image = make_image([Layer.of({"x": noise(100_000, 5)})], label=fault)
    raw = stream({A: image})
    if fault == "flipped":
        at = raw.index(image.contents[image.layers[0]]) + 50_000
        raw = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
    else:
        broken = Image(image.descriptor, image.raw, dict(image.contents), image.config, image.layers)
        del broken.contents[image.layers[0]]
        raw = stream({A: broken})
    docker = connect(engine)
    with pytest.raises(EndpointError, match="load failed"):
        docker.load(chunks(raw))
    assert not docker.find_id(image_id(image, docker))
    docker.untag(A)
    assert docker.find(A) is None


def test_our_own_error_cuts_the_stream_and_nothing_is_registered(engine: Engine):
    raw = stream(IMAGES)

    def broken():
        yield from chunks(raw[: len(raw) // 2])
        raise DigestMismatchError("mine")

    docker = connect(engine)
    with pytest.raises(DigestMismatchError, match="mine"):
        docker.load(broken())
    assert engine.images() == []
    docker.load(chunks(raw))
    assert docker.find(A) is not None


@pytest.mark.parametrize("raw", [b"no tar at all" * 100, bytes(2048), stream(IMAGES)[:50_000]])
def test_what_is_no_archive(engine: Engine, raw: bytes):
    with pytest.raises(EndpointError, match="load failed"):
        connect(engine).load(chunks(raw))
    assert engine.images() == []


def test_a_name_that_a_container_uses(docker: DockerEngine, engine: Engine):
    engine.docker("create", "--name", "user", A.familiar)
    before = docker.find(A)
    with pytest.raises(EndpointError, match="container"):
        docker.untag(A)
    assert docker.find(A) == before
