"""What the tests of the store share."""

from pathlib import Path

import pytest

from airgap.bundle.store import BlobStore
from airgap.errors import (
    EndpointError,
)
from airgap.oci.digest import Digest
from airgap.oci.documents import Descriptor
from tests.support.streams import Bytes

RAW = b"0123456789" * 1000
SHA256, SHA512 = Digest.of(RAW), Digest.of(RAW, "sha512")
ALGORITHMS = pytest.mark.parametrize("digest", [SHA256, SHA512], ids=["sha256", "sha512"])


def blob(digest: Digest = SHA256, size: int = len(RAW)) -> Descriptor:
    return Descriptor("x", digest, size)


class Source:
    """Opens `RAW`, or something else, and counts from where."""

    def __init__(self, raw: bytes = RAW, *, seeks: bool = True) -> None:
        self.raw, self.seeks = raw, seeks
        self.offsets: list[int] = []

    def __call__(self, offset: int) -> Bytes:
        self.offsets.append(offset)
        if offset and not self.seeks:
            raise EndpointError("cannot seek")
        return Bytes(self.raw[offset:], 999)


def put(store: BlobStore, digest: Digest, raw: bytes, suffix: str = "") -> Path:
    path = store.path(digest).with_name(digest.hex + suffix)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(raw)
    return path
