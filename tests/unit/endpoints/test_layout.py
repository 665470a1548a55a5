"""OCI folders: files that are not what they should be, and writing."""

import json
import os
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from airgap.endpoints.layout import Layout
from airgap.endpoints.layout.folder import LayoutFolder
from airgap.errors import (
    AirgapError,
    EndpointError,
    MediaError,
    NoSpaceError,
    SizeMismatchError,
)
from airgap.oci.digest import CheckedReader, Digest
from airgap.oci.documents import CONTAINERD_NAME, OCI_INDEX, OCI_MANIFEST, REF_NAME, Descriptor
from airgap.oci.reference import ImageReference
from tests.support.streams import BrokenStream, Bytes
from tests.unit.endpoints.layout_support import (
    API,
    BAD_INDEXES,
    IMAGE,
    OTHER,
    blob_of,
    entry,
    files_below,
    index_of,
    named,
)

# --- files that are not what they should be


def make_link(path: Path) -> None:
    path.rename(path.with_name("real"))
    path.symlink_to(path.with_name("real"))


def make_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_socket(path: Path) -> None:
    path.unlink()
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path must be short
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(path.name)
    finally:
        os.chdir(here)


def make_device(path: Path) -> None:
    path.unlink()
    path.symlink_to("/dev/zero")


ODD_FILES = {
    "link": make_link,
    "fifo": make_fifo,
    "folder": make_folder,
    "socket": make_socket,
    "link to a device": make_device,
}


BLOB = IMAGE.descriptor.digest.path


@pytest.mark.parametrize("change", ODD_FILES.values(), ids=ODD_FILES)
@pytest.mark.parametrize("name", [BLOB, "index.json", "oci-layout"])
def test_only_regular_files_are_read(folder: Path, name: str, change: Callable[[Path], None]):
    change(folder / name)
    layout = Layout(folder)
    with pytest.raises(EndpointError, match="not a regular file"):
        layout.read_document(API, layout.resolve(API))


@pytest.mark.parametrize("name", ["blobs", "blobs/sha256"])
def test_no_link_is_followed_on_the_way(folder: Path, name: str):
    make_link(folder / name)
    before = files_below(folder)
    layout = Layout(folder)
    with pytest.raises(EndpointError, match="link"):
        layout.read_document(API, IMAGE.descriptor)
    assert not layout.holds(API, IMAGE.descriptor)
    with pytest.raises(EndpointError, match="link"):
        layout.put_blob(API, blob_of(b"new"), Bytes(b"new"))
    assert files_below(folder) == before


def test_the_folder_itself_may_be_a_link(folder: Path, tmp_path: Path):
    (tmp_path / "link").symlink_to(folder)
    assert Layout(tmp_path / "link").read_document(API, IMAGE.descriptor) == IMAGE.raw


@pytest.mark.parametrize("change", [lambda raw: raw[:-1], lambda raw: raw + b"\n", lambda raw: b""])
def test_a_file_of_the_wrong_size_is_not_handed_out(folder: Path, change: Callable[[bytes], bytes]):
    (folder / BLOB).write_bytes(change(IMAGE.raw))
    with pytest.raises(SizeMismatchError):
        Layout(folder).open_blob(API, IMAGE.descriptor)
    assert not Layout(folder).holds(API, IMAGE.descriptor)


def test_a_document_is_bounded(folder: Path):
    huge = Descriptor(OCI_INDEX, IMAGE.descriptor.digest, (4 << 20) + 1)
    with pytest.raises(EndpointError, match="too large"):
        Layout(folder).read_document(API, huge)


def test_a_file_that_shrinks_is_read_short(folder: Path):
    with closing(Layout(folder).open_blob(API, IMAGE.descriptor)) as stream:
        (folder / BLOB).write_bytes(b"{}")
        reader = CheckedReader(stream, IMAGE.descriptor.digest, IMAGE.descriptor.size)
        with pytest.raises(SizeMismatchError):
            reader.readall()


# --- writing


def test_a_new_layout_has_just_what_was_put(tmp_path: Path):
    layout = Layout(tmp_path / "deep" / "new")
    for digest, raw in IMAGE.contents.items():
        layout.put_blob(API, Descriptor("x", digest, len(raw)), Bytes(raw))
    layout.tag(API, IMAGE.descriptor, IMAGE.raw)
    expected = {digest.path for digest in IMAGE.contents} | {"oci-layout", "index.json"}
    assert set(files_below(tmp_path / "deep" / "new")) == expected
    [found] = json.loads((tmp_path / "deep" / "new" / "index.json").read_text())["manifests"]
    assert found["annotations"] == {REF_NAME: str(API), CONTAINERD_NAME: str(API)}
    assert found["digest"] == str(IMAGE.descriptor.digest)


def test_an_interrupted_creation_resumes(tmp_path: Path):
    (tmp_path / "oci-layout.part").write_text("{")
    Layout(tmp_path).tag(API, IMAGE.descriptor, IMAGE.raw)
    (tmp_path / "index.json").unlink()
    Layout(tmp_path).tag(API, IMAGE.descriptor, IMAGE.raw)
    assert Layout(tmp_path).names() == [API]


def test_another_folder_is_not_filled(tmp_path: Path):
    (tmp_path / "letters").mkdir()
    with pytest.raises(EndpointError, match=r"neither empty nor an OCI image layout.*letters"):
        Layout(tmp_path).put_blob(API, blob_of(b"x"), Bytes(b"x"))
    assert files_below(tmp_path) == []


def test_tag_mends_a_name_that_two_images_had(folder: Path):
    (folder / "index.json").write_bytes(BAD_INDEXES["one name twice"][0])
    Layout(folder).tag(API, IMAGE.descriptor, IMAGE.raw)
    assert Layout(folder).resolve(API).digest == IMAGE.descriptor.digest


def test_tag_keeps_what_it_does_not_know(folder: Path):
    foreign = entry(OTHER, note="kept") | {
        "platform": {"os": "linux", "architecture": "arm", "os.version": "9"}
    }
    raw = json.loads(index_of(foreign, named("2.3", OTHER), named(str(API), OTHER)))
    (folder / "index.json").write_text(json.dumps(raw | {"annotations": {"mine": "kept"}}))
    Layout(folder).tag(API, IMAGE.descriptor, IMAGE.raw)
    found = json.loads((folder / "index.json").read_text())
    assert found["annotations"] == {"mine": "kept"}
    assert found["manifests"][:2] == raw["manifests"][:2]
    assert [e["digest"] for e in found["manifests"][2:]] == [str(IMAGE.descriptor.digest)]


def test_the_digest_is_not_part_of_the_name(folder: Path):
    layout = Layout(folder)
    layout.tag(API.with_digest(OTHER.descriptor.digest), OTHER.descriptor, OTHER.raw)
    assert layout.names() == [API]
    assert layout.find(API.with_digest(IMAGE.descriptor.digest)) == OTHER.descriptor.digest


def test_a_digest_only_image_gets_one_entry_named_by_its_digest(folder: Path):
    layout = Layout(folder)
    reference = ImageReference.parse(f"acme/other@{OTHER.descriptor.digest}")
    assert layout.find(reference) is None
    for _ in range(2):
        layout.tag(reference, OTHER.descriptor, OTHER.raw)
    entries = json.loads((folder / "index.json").read_text())["manifests"]
    assert [e["digest"] for e in entries] == [str(IMAGE.descriptor.digest), str(OTHER.descriptor.digest)]
    assert entries[1]["annotations"] == {REF_NAME: str(reference), CONTAINERD_NAME: str(reference)}
    assert layout.find(reference) == layout.resolve(reference).digest == OTHER.descriptor.digest


def test_names_from_elsewhere_do_not_come_along(folder: Path):
    came = Descriptor(
        OCI_MANIFEST, OTHER.descriptor.digest, OTHER.descriptor.size,
        annotations={REF_NAME: "evil/name:1", CONTAINERD_NAME: "evil/name:1", "note": "kept"},
    )  # fmt: skip
    Layout(folder).tag(API, came, OTHER.raw)
    assert Layout(folder).names() == [API]
    entries = json.loads((folder / "index.json").read_text())["manifests"]
    assert entries[0]["annotations"] == {REF_NAME: str(API), CONTAINERD_NAME: str(API), "note": "kept"}


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(lambda raw: Bytes(raw[:-1]), id="short"),
        pytest.param(lambda raw: Bytes(raw + b"x"), id="long"),
        pytest.param(lambda raw: BrokenStream(raw[:5], MediaError("gone")), id="breaks"),
        pytest.param(
            lambda raw: CheckedReader(Bytes(b"y" * len(raw)), Digest.of(raw), len(raw)), id="other content"
        ),
        pytest.param(lambda raw: BrokenStream(raw[:5], KeyboardInterrupt()), id="interrupted"),
    ],
)
def test_a_blob_is_whole_or_absent(folder: Path, stream: Callable[[bytes], object]):
    before = files_below(folder)
    with pytest.raises((AirgapError, KeyboardInterrupt)):
        Layout(folder).put_blob(API, blob_of(b"content"), stream(b"content"))
    assert files_below(folder) == before


def test_put_replaces_a_damaged_blob_and_a_link(folder: Path, tmp_path: Path):
    layout = Layout(folder)
    (tmp_path / "outside").write_bytes(b"outside")
    descriptor = blob_of(b"content")
    path = folder / descriptor.digest.path
    path.write_bytes(b"tnetnoc")
    layout.put_blob(API, descriptor, Bytes(b"content"))
    assert path.read_bytes() == b"content"
    path.unlink()
    path.symlink_to(tmp_path / "outside")
    layout.put_blob(API, descriptor, Bytes(b"content"))
    assert not path.is_symlink()
    assert (tmp_path / "outside").read_bytes() == b"outside"


def test_a_full_disk_is_reported(folder: Path):
    before = files_below(folder)
    with pytest.raises(NoSpaceError):
        Layout(folder).put_blob(API, blob_of(b"x"), BrokenStream(b"", OSError(28, "No space left on device")))
    assert files_below(folder) == before


def test_a_file_in_the_place_of_the_folder(tmp_path: Path):
    (tmp_path / "file").write_text("x")
    for path in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises((EndpointError, MediaError)):
            Layout(path).put_blob(API, blob_of(b"x"), Bytes(b"x"))
        with pytest.raises(EndpointError):
            Layout(path).names()


def test_threads_do_not_lose_each_others_names(tmp_path: Path):
    layouts = [Layout(tmp_path / "layout"), Layout(tmp_path / "layout")]
    layouts[0].put_document(API, IMAGE.descriptor, IMAGE.raw)
    references = [ImageReference.parse(f"acme/api:{i}") for i in range(24)]

    def work(start: int) -> None:
        for reference in references[start::4]:
            layouts[start % 2].tag(reference, IMAGE.descriptor, IMAGE.raw)

    threads = [threading.Thread(target=work, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(layouts[0].names()) == sorted(references)


class TestNaming:
    def test_all_names_are_given_in_one_write(self, folder, monkeypatch):
        written = []
        write = LayoutFolder.write_document
        monkeypatch.setattr(
            LayoutFolder, "write_document", lambda *args: (written.append(args[1]), write(*args))
        )
        layout, names = Layout(folder), [ImageReference.parse(f"acme/api:{i}") for i in range(3)]
        with layout.naming():
            for name in names:
                layout.tag(name, OTHER.descriptor, OTHER.raw)
            assert [layout.find(name) for name in names] == [None] * 3
        assert written == ["index.json"]
        assert [layout.find(name) for name in names] == [OTHER.descriptor.digest] * 3

    def test_nothing_is_named_after_an_error(self, folder):
        layout, before = Layout(folder), files_below(folder)

        def interrupted() -> None:
            with layout.naming():
                layout.tag(API, IMAGE.descriptor, IMAGE.raw)
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            interrupted()
        assert files_below(folder) == before

    def test_another_program_changes_the_index(self, folder):
        layout = Layout(folder)
        assert layout.find(API) == IMAGE.descriptor.digest
        index = json.loads((folder / "index.json").read_bytes())
        index["manifests"] = []
        (folder / "index.json").write_text(json.dumps(index))
        assert layout.find(API) is None


class TestSweep:
    """Blobs that a killed load left unfinished go away; those that another one is writing stay."""

    def test_leftovers(self, folder):
        left = folder / "blobs" / "sha256" / f"{'a' * 64}.0123abcd.part"
        left.write_bytes(b"half")
        before = files_below(folder)
        Layout(folder).sweep()
        assert files_below(folder) == [name for name in before if not name.endswith(".part")]

    def test_what_is_being_written(self, folder):
        seen = []
        raw = b"x" * 10

        class Slow(Bytes):
            def readinto(self, buffer):
                if not seen:
                    Layout(folder).sweep()
                seen.append([name for name in files_below(folder) if name.endswith(".part")])
                return super().readinto(buffer)

        Layout(folder).put_blob(API, blob_of(raw), Slow(raw))
        assert len(seen[0]) == 1
        assert (folder / blob_of(raw).digest.path).read_bytes() == raw

    def test_nothing_there(self, tmp_path):
        Layout(tmp_path / "none").sweep()
        assert not (tmp_path / "none").exists()

    def test_a_disk_that_refuses(self, folder, monkeypatch):
        (folder / "blobs" / "sha256" / "x.part").touch()

        def fail(_):
            raise OSError(30, "read-only")

        monkeypatch.setattr(Path, "unlink", fail)
        with pytest.raises(MediaError, match=r"cannot remove: .*x\.part, got read-only"):
            Layout(folder).sweep()


def test_new_folders_and_all_names_are_durable_before_a_name_moves(tmp_path, monkeypatch):
    found = []
    monkeypatch.setattr(os, "fsync", lambda fd: found.append(str(Path(f"/proc/self/fd/{fd}").readlink())))
    layout = Layout(tmp_path / "new")
    layout.put_blob(API, blob_of(b"x"), Bytes(b"x"))
    folders = [str(tmp_path / name) for name in ("", "new", "new/blobs")]
    assert set(folders) <= set(found)
    found.clear()
    layout.put_document(API, IMAGE.descriptor, IMAGE.raw)
    layout.tag(API, IMAGE.descriptor, IMAGE.raw)
    index = next(number for number, path in enumerate(found) if path.endswith("index.json.part"))
    assert {*folders, str(tmp_path / "new/blobs/sha256")} <= set(found[:index])
