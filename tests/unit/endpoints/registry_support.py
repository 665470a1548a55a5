"""What the tests of the registry client share."""

from airgap.endpoints.logins import Credentials
from airgap.endpoints.registry import Registry, RegistryOptions
from airgap.oci.digest import ByteStream, Digest
from airgap.oci.documents import OCI_LAYER_GZIP, Descriptor
from airgap.oci.reference import ImageReference
from tests.support.images import Image, noise, simple_image
from tests.support.registry import FakeRegistry

IMAGE = simple_image("api")
BLOB = noise(50_000, 7)
BLOB_DESCRIPTOR = Descriptor(OCI_LAYER_GZIP, Digest.of(BLOB), len(BLOB))


class Logins:
    """One login for every host; counts how often it was asked."""

    def __init__(self, login: Credentials | None) -> None:
        self.login = login
        self.asked: list[str] = []

    def get(self, host: str) -> Credentials | None:
        self.asked.append(host)
        return self.login


class Clock:
    """A clock and the sleep that moves it."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def filled(fake: FakeRegistry, image: Image = IMAGE) -> FakeRegistry:
    """`fake`, with `image` as acme/api:1.0 and `BLOB` beside it."""
    fake.add("acme/api", "1.0", image)
    fake.blobs["acme/api", BLOB_DESCRIPTOR.digest] = BLOB
    return fake


def client(fake: FakeRegistry, **options: object) -> Registry:
    """A client of `fake` and its storage that never really sleeps."""
    clock = Clock()
    trusted = {} if fake.storage is None else {"trusted_hosts": (fake.storage.host,)}
    return Registry(
        fake.host,
        options=RegistryOptions(**{"sleep": clock.sleep, "clock": clock, **trusted, **options}),  # type: ignore[arg-type]
    )


def named(fake: FakeRegistry, rest: str = ":1.0") -> ImageReference:
    return ImageReference.parse(f"{fake.host}/acme/api{rest}")


def drain(stream: ByteStream) -> bytes:
    """All bytes of `stream`, which is closed."""
    found, buffer = bytearray(), memoryview(bytearray(4096))
    try:
        while got := stream.readinto(buffer):
            found += buffer[:got]
    finally:
        stream.close()
    return bytes(found)
