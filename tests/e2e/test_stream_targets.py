"""What every `EngineTarget` does, over every real engine."""

import contextlib
import io
import json
from collections.abc import Iterator

import pytest

from airgap.endpoints.containerd import Containerd
from airgap.endpoints.docker.engine import DockerEngine
from airgap.endpoints.ports import EngineTarget
from airgap.errors import DigestMismatchError, EndpointError
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from tests.e2e.airgap import environment
from tests.support.images import Image, Layer, archive_of, make_image, noise

A, B = (ImageReference.parse(f"registry.test/acme/{name}:1") for name in ("a", "b"))
APP = make_image([Layer.of({"big": noise(900_000, 1)}), Layer.of({"small": b"x"})])
OTHER = make_image([Layer.of({"other": noise(900_000, 2)})])
ENGINES = ("docker20", "docker28c", "containerd16", "containerd2", "podman4", "podman5")


@pytest.fixture(params=ENGINES)
def target(request: pytest.FixtureRequest) -> Iterator[EngineTarget]:
    engine = request.getfixturevalue(f"session_{request.param}")
    with contextlib.ExitStack() as stack:
        if request.param.startswith("containerd"):
            stack.enter_context(environment(**engine.environment))
            yield Containerd(f"containerd:s{abs(hash(request.node.nodeid))}")
        else:
            engine.reset()
            yield DockerEngine(f"docker:unix://{engine.socket}")


def id_of(target: EngineTarget, image: Image) -> Digest:
    found = image.config if target.info().ids_are_configs else image.descriptor.digest
    assert found
    return found


def load(target: EngineTarget, image: Image, name: ImageReference = A) -> None:
    target.load(iter([archive_of({str(name): image})]))


def test_the_life_of_an_image(target: EngineTarget) -> None:
    app, other = id_of(target, APP), id_of(target, OTHER)
    assert (target.find(A), target.find_id(app)) == (None, False)
    target.untag(A)
    load(target, APP)
    assert (target.find(A), target.find_id(app), target.find_id(other)) == (app, True, False)
    target.tag(app, B)
    load(target, OTHER)
    assert (target.find(A), target.find(B)) == (other, app)
    target.tag(app, A)
    assert (target.find(A), target.find_id(app)) == (app, True)
    target.untag(A)
    assert (target.find(A), target.find(B), target.find_id(app)) == (None, app, True)
    target.tag(app, A)
    target.remove_name(B, app)
    assert (target.find(A), target.find(B)) == (app, None)


def test_a_stream_that_is_cut_leaves_no_name(target: EngineTarget) -> None:
    raw = io.BytesIO(archive_of({str(A): APP}))

    def chunks() -> Iterator[bytes]:
        yield raw.read(800_000)
        raise DigestMismatchError("cut")

    with pytest.raises(DigestMismatchError, match="cut"):
        target.load(chunks())
    assert (target.find(A), target.find_id(id_of(target, APP))) == (None, False)
    load(target, APP)
    assert target.find(A) == id_of(target, APP)


def test_what_is_no_archive_is_an_error(target: EngineTarget) -> None:
    with pytest.raises(EndpointError):
        target.load(iter([b"this is no archive. " * 1000]))


def test_an_archive_without_a_layer_is_an_error_or_seen_to_be_broken(target: EngineTarget) -> None:
    raw = archive_of({str(A): APP}, leave_out={APP.layers[0]})
    with contextlib.suppress(EndpointError):
        target.load(iter([raw]))
    assert not target.find_id(id_of(target, APP))


def test_the_engine_says_who_it_is(target: EngineTarget) -> None:
    info = target.info()
    assert info.version[0].isdigit()
    assert str(info.platform).startswith("linux/")
    assert json.dumps(info.version).isascii()
