"""Folders in the form of skopeo's `dir:`, as a source."""

import contextlib
from collections.abc import Callable
from pathlib import Path

import pytest

from airgap.endpoints.layout import Layout
from airgap.errors import AmbiguousError, EndpointError, FormatError, NotFoundError, SizeMismatchError
from airgap.oci.reference import ImageReference
from tests.support.images import Image, make_index, simple_image

IMAGE = simple_image("app")
INDEX = make_index([IMAGE, simple_image("arm", platform="linux/arm64")])
NAME = ImageReference.parse("made/app:1")


def write(folder: Path, image: Image) -> Path:
    """As skopeo does it."""
    folder.mkdir()
    (folder / "version").write_text("Directory Transport Version: 1.1\n")
    (folder / "manifest.json").write_bytes(image.raw)
    for digest, raw in image.contents.items():
        if raw != image.raw:
            inner = image is INDEX and b'"layers"' in raw
            (folder / f"{digest.hex}{'.manifest.json' if inner else ''}").write_bytes(raw)
    return folder


@pytest.mark.parametrize("image", [IMAGE, INDEX], ids=["image", "index"])
def test_one_image_without_a_name(tmp_path: Path, image: Image) -> None:
    layout = Layout(write(tmp_path / "made", image))
    [listed] = layout.list_images()
    assert (listed.digest, listed.names, listed.tag) == (image.descriptor.digest, (), None)
    assert layout.names() == []
    reference = NAME.with_digest(listed.digest)
    root = layout.resolve(reference)
    assert (root.digest, root.media_type) == (image.descriptor.digest, image.descriptor.media_type)
    for digest, raw in image.contents.items():
        descriptor = type(root)(root.media_type, digest, len(raw))
        with contextlib.closing(layout.open_blob(reference, descriptor)) as stream:
            view = memoryview(bytearray(len(raw)))
            assert stream.readinto(view) == len(raw)
            assert bytes(view) == raw


def test_it_has_no_names(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such image"):
        Layout(write(tmp_path / "made", IMAGE)).resolve(NAME)


def changed(name: str, raw: bytes) -> Callable[[Path], object]:
    return lambda folder: (folder / name).write_bytes(raw)


BAD = {
    "no version": (lambda folder: (folder / "version").unlink(), NotFoundError),
    "another version": (changed("version", b"Directory Transport Version: 2.0\n"), NotFoundError),
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), NotFoundError),
    "no JSON": (changed("manifest.json", b"{"), FormatError),
    "the list of docker save": (changed("manifest.json", b"[]"), FormatError),
    "both kinds": (changed("manifest.json", IMAGE.raw.replace(b'"layers"', b'"manifests":[],"layers"')), AmbiguousError),
    "too large": (changed("manifest.json", b" " * ((4 << 20) + 1)), FormatError),
    "a link": (lambda folder: _link(folder / "manifest.json"), EndpointError),
}  # fmt: skip


def _link(path: Path) -> None:
    path.rename(path.with_name("elsewhere"))
    path.symlink_to("elsewhere")


@pytest.mark.parametrize(("change", "kind"), BAD.values(), ids=BAD)
def test_refused(tmp_path: Path, change: Callable[[Path], object], kind: type[Exception]) -> None:
    folder = write(tmp_path / "made", IMAGE)
    change(folder)
    with pytest.raises(kind):
        Layout(folder).list_images()


def test_a_blob_of_another_size(tmp_path: Path) -> None:
    folder = write(tmp_path / "made", IMAGE)
    layer = IMAGE.layers[0]
    (folder / layer.hex).write_bytes(b"x")
    descriptor = type(IMAGE.descriptor)("x", layer, len(IMAGE.contents[layer]))
    with pytest.raises(SizeMismatchError):
        Layout(folder).open_blob(NAME, descriptor)


def test_a_layout_goes_before_it(tmp_path: Path) -> None:
    """What has both is a layout for every other tool."""
    folder = write(tmp_path / "made", IMAGE)
    (folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
    (folder / "index.json").write_text('{"schemaVersion":2,"manifests":[]}')
    assert Layout(folder).list_images() == []


def test_nothing_is_written_into_it(tmp_path: Path) -> None:
    folder = write(tmp_path / "made", IMAGE)
    with pytest.raises(EndpointError, match="neither empty nor an OCI image layout"):
        Layout(folder).put_document(NAME, IMAGE.descriptor, IMAGE.raw)
