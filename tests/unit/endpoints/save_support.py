"""What the tests of image tars share."""

import io
import json

from airgap.endpoints.save_stream import export_archive
from airgap.oci.reference import ImageReference
from tests.support.saves import (
    MemorySink,
    images,
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
