"""Images that the tests pack, and sources and media that fail."""

from types import SimpleNamespace

import pytest

from airgap.endpoints.layout import Layout
from airgap.oci.digest import ByteStream
from airgap.oci.documents import Descriptor
from airgap.oci.reference import ImageReference
from tests.support.images import simple_image

API, WEB = simple_image("api"), simple_image("web")
BOTH = {"api": API, "web": WEB}
NAMES = [f"example.com/{name}:1" for name in BOTH]
PLANNED = 4
"""What a plan of both reads: two image manifests and two configs. Only layers are fetched after that."""


def breaking(monkeypatch: pytest.MonkeyPatch, error: BaseException, after: int) -> None:
    """Let layouts hand out so many blobs, and then raise."""
    real, left = Layout.open_blob, [after]

    def open_blob(self: Layout, ref: ImageReference, blob: Descriptor, offset: int = 0) -> ByteStream:
        if left[0] == 0:
            raise error
        left[0] -= 1
        return real(self, ref, blob, offset)

    monkeypatch.setattr(Layout, "open_blob", open_blob)


def tight(monkeypatch: pytest.MonkeyPatch, free: int) -> None:
    """A medium with so many bytes free."""
    space = SimpleNamespace(f_frsize=1, f_blocks=1 << 30, f_bavail=free, f_flag=0)
    monkeypatch.setattr("os.statvfs", lambda _path: space)
