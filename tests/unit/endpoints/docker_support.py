"""What the tests of the Docker engine share."""

from airgap.endpoints.docker.engine import DockerEngine
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from tests.support.daemon import Daemon

A, B = ImageReference.parse("t/a:1"), ImageReference.parse("t/b:1")
ID = Digest.of(b"image")


def engine(daemon: Daemon) -> DockerEngine:
    return DockerEngine(daemon.endpoint, timeout=20)


def chunks(raw: bytes, step: int = 5000) -> list[bytes]:
    return [raw[at : at + step] for at in range(0, len(raw), step)]
