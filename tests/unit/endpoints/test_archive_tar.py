"""Packed archives, archives in a folder, and archives that are not whole; good and bad."""

import gzip
import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from airgap.bundle.tar_entries import header, read_entries
from airgap.bundle.tar_header import BLOCK
from airgap.endpoints import archive_tar
from airgap.endpoints.archive import Archive
from airgap.endpoints.save_stream import export_archive
from airgap.errors import AmbiguousError, DigestMismatchError, FormatError, MissingContentError, NotFoundError
from airgap.oci.digest import ByteStream, Digest
from airgap.oci.reference import ImageReference
from tests.support.images import make_image, make_index
from tests.support.saves import MemorySink, gzipped, hybrid, images, item, saved_by_20, saved_by_28, tar
from tests.unit.bundle.test_pax import LARGE, SIZE, Sparse

A, B = ImageReference.parse("t/a:1"), ImageReference.parse("t/b:1")
IMAGES = images()
CONTAINERD = hybrid({str(A): IMAGES["a"], str(B): IMAGES["b"]}, items=[item(IMAGES["a"], "t/a:1")])
FORMS = {"20.10": tar(*saved_by_20()), "28": tar(saved_by_28()), "containerd": tar(CONTAINERD)}


def in_frames(raw: bytes) -> bytes:
    return b"".join(zstandard.compress(raw[at : at + 5000]) for at in range(0, len(raw), 5000))


def in_members(raw: bytes) -> bytes:
    return b"".join(gzip.compress(raw[at : at + 5000]) for at in range(0, len(raw), 5000))


PACKERS = {"gzip": gzip.compress, "members": in_members, "zstd": zstandard.compress, "frames": in_frames}


def written(path: Path, raw: bytes) -> Archive:
    path.write_bytes(raw)
    return Archive(path)


def export(archive: Archive, *names: ImageReference) -> tuple[list, dict[Digest, bytes]]:
    sink = MemorySink()
    return archive.export(names or (A, B), sink, lambda _: None), sink.contents


class TestPacked:
    @pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
    @pytest.mark.parametrize("raw", FORMS.values(), ids=FORMS)
    def test_gives_what_the_plain_one_gives(self, tmp_path: Path, raw: bytes, pack: Callable[[bytes], bytes]):
        plain, packed = written(tmp_path / "plain.tar", raw), written(tmp_path / "packed", pack(raw))
        assert packed.list_images() == plain.list_images()
        assert export(packed) == export(plain)
        assert export(packed, B) == export(plain, B)

    def test_is_read_twice_and_never_written(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        opened = []
        original = archive_tar._Unpacking.__init__

        def counting(self: object, *args: object) -> None:
            opened.append(1)
            original(self, *args)

        monkeypatch.setattr(archive_tar._Unpacking, "__init__", counting)
        archive = written(tmp_path / "x.tar.gz", gzip.compress(FORMS["containerd"]))
        for _ in range(3):
            archive.list_images()
            archive.identify(B)
        export(archive)
        assert len(opened) == 2
        assert [path.name for path in tmp_path.iterdir()] == ["x.tar.gz"]

    def test_documents_that_are_not_kept_are_read_once_more(self, tmp_path, monkeypatch):
        monkeypatch.setattr(archive_tar, "MAX_KEPT_DOCUMENT_BYTES", 300)
        plain = written(tmp_path / "plain.tar", FORMS["containerd"])
        packed = written(tmp_path / "packed", gzip.compress(FORMS["containerd"]))
        assert export(packed) == export(plain)

    def test_too_many_of_those(self, tmp_path, monkeypatch):
        monkeypatch.setattr(archive_tar, "MAX_KEPT_DOCUMENTS_BYTES", 0)
        monkeypatch.setattr(archive_tar, "MAX_ARCHIVE_PASSES", 3)
        packed = written(tmp_path / "packed", gzip.compress(FORMS["containerd"]))
        with pytest.raises(FormatError, match="too many large documents") as caught:
            packed.list_images()
        assert caught.value.hint == f"unpack it first: gunzip {tmp_path}/packed"

    def test_a_file_that_changes_is_read_again(self, tmp_path: Path):
        archive = written(tmp_path / "x", gzip.compress(FORMS["20.10"]))
        before = archive.identify(A)
        (tmp_path / "x").write_bytes(zstandard.compress(FORMS["containerd"]))
        assert archive.identify(A) != before


def bomb(zeros: int) -> bytes:
    """A zstd frame of an archive with one huge file of zeros."""
    packer = zstandard.ZstdCompressor().compressobj()
    raw = header("layer.tar", zeros)
    parts = [packer.compress(raw)]
    block = bytes(1 << 20)
    parts += [packer.compress(block) for _ in range(zeros >> 20)]
    return b"".join([*parts, packer.flush()])


class TestBad:
    def test_a_bomb(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(archive_tar, "FREE_UNPACKED_BYTES", 1 << 20)
        archive = written(tmp_path / "bomb", bomb(128 << 20))
        with pytest.raises(FormatError, match="too large when unpacked") as caught:
            archive.list_images()
        assert caught.value.hint == f"if the archive is genuine, unpack it first: unzstd {tmp_path}/bomb"

    def test_a_bomb_behind_the_end(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr("airgap.bundle.tar_entries.MAX_TAR_TRAILER_BYTES", 1 << 20)
        archive = written(tmp_path / "bomb", gzip.compress(FORMS["28"] + bytes(8 << 20)))
        with pytest.raises(FormatError, match="data after the end of the archive"):
            archive.list_images()

    def test_a_bomb_in_a_bomb(self, tmp_path: Path):
        archive = written(tmp_path / "bomb", gzip.compress(gzip.compress(FORMS["28"])))
        with pytest.raises(FormatError, match=r"not a tar header|truncated"):
            archive.list_images()

    def test_a_document_that_is_too_large(self, tmp_path: Path):
        files = {**CONTAINERD, "index.json": b"{" + b" " * (4 << 20)}
        with pytest.raises(FormatError, match=r"too large: index\.json in .*/x"):
            written(tmp_path / "x", gzip.compress(tar(files))).list_images()

    @pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
    @pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
    def test_cut(self, tmp_path: Path, pack: Callable[[bytes], bytes], part: float):
        raw = pack(FORMS["20.10"])
        archive = written(tmp_path / "x", raw[: int(len(raw) * part)])
        with pytest.raises(FormatError, match="truncated") as caught:
            archive.list_images()
        assert f"{tmp_path}/x" in str(caught.value)
        assert "copy or download it again" in (caught.value.hint or "")

    def test_wrong_sum_at_the_end(self, tmp_path: Path):
        raw = bytearray(gzip.compress(FORMS["28"]))
        raw[-8] ^= 1
        with pytest.raises(FormatError, match="damaged or truncated gzip file"):
            written(tmp_path / "x", bytes(raw)).list_images()

    def test_rubbish_behind_the_gzip(self, tmp_path: Path):
        with pytest.raises(FormatError, match="damaged or truncated gzip file"):
            written(tmp_path / "x", gzip.compress(FORMS["28"]) + b"more").list_images()

    def test_a_layer_that_is_wrong(self, tmp_path: Path):
        layer = IMAGES["a"].layers[1].path
        files = {**CONTAINERD, layer: CONTAINERD[layer][:-1] + b"\1"}
        with pytest.raises(DigestMismatchError, match=r"wrong digest: sha256:.* in .*/x"):
            export(written(tmp_path / "x", gzip.compress(tar(files))), A)

    def test_an_archive_that_shrinks_between_the_passes(self, tmp_path: Path):
        archive = written(tmp_path / "x", gzip.compress(FORMS["containerd"]))
        archive.list_images()
        index = archive._known[1]
        index.sizes["blobs/sha256/" + "0" * 64] = 3
        with (tmp_path / "x").open("rb") as file:
            files = archive_tar.TarFile(file.fileno(), tmp_path / "x", index)
            with pytest.raises(FormatError, match="the archive changed while it was read"):
                list(files.iter_files({"blobs/sha256/" + "0" * 64}, lambda _: None))

    @pytest.mark.parametrize("raw", [zlib.compress(b"x"), b"PK\3\4", b"\x50\x2a\x4d", b"\x1f\x8b"])
    def test_no_tar(self, tmp_path: Path, raw: bytes):
        with pytest.raises(FormatError, match=r"truncated|not an image archive"):
            written(tmp_path / "x", raw).list_images()


class TestCut:
    """At a block boundary, where the tar reader itself sees nothing wrong."""

    @pytest.mark.parametrize(("form", "not_needed"), [("20.10", 0), ("28", 2), ("containerd", 1)])
    def test_between_entries(self, tmp_path: Path, form: str, not_needed: int):
        """Behind index.json nothing is needed."""
        raw = FORMS[form]
        ends = [entry.offset - BLOCK for entry, _ in read_entries(io.BytesIO(raw))]
        for end in ends[1 : len(ends) - not_needed]:
            with pytest.raises(FormatError, match=r"truncated archive: .*/x, got no end mark") as caught:
                written(tmp_path / "x", raw[:end]).list_images()
            assert caught.value.hint == "the archive is cut off: copy or download it again"

    def test_what_is_all_there_needs_no_end_mark(self, tmp_path: Path):
        assert len(written(tmp_path / "x", FORMS["28"][:-1024]).list_images()) == 2

    def test_what_is_missing_from_a_whole_archive_is_named(self, tmp_path: Path):
        layer = IMAGES["a"].layers[1]
        files = {name: raw for name, raw in CONTAINERD.items() if name != layer.path}
        with pytest.raises(MissingContentError, match=f"not in the archive: {layer} in .*/x"):
            written(tmp_path / "x", tar(files)).list_images()


class TestFolder:
    @pytest.mark.parametrize("top", ["images/", "a/b/c/", "./x/"])
    @pytest.mark.parametrize("pack", [bytes, gzip.compress])
    def test_the_one_folder_is_entered(self, tmp_path: Path, top: str, pack: Callable[[bytes], bytes]):
        plain = written(tmp_path / "plain.tar", FORMS["containerd"])
        files = {f"{top}{name}": raw for name, raw in CONTAINERD.items()} | {"README": b"{}", "other/x": b"y"}
        assert export(written(tmp_path / "x", pack(tar(files)))) == export(plain)

    def test_links_in_it(self, tmp_path: Path):
        files, links = saved_by_20()
        inside = tar(
            {f"top/{n}": raw for n, raw in files.items()}, {f"top/{n}": to for n, to in links.items()}
        )
        assert export(written(tmp_path / "x", inside)) == export(written(tmp_path / "y", FORMS["20.10"]))

    def test_documents_at_the_top_take_precedence(self, tmp_path: Path):
        other = hybrid({str(A): IMAGES["b"]})
        files = CONTAINERD | {f"inner/{name}": raw for name, raw in other.items()}
        assert written(tmp_path / "x", tar(files)).identify(A) == IMAGES["a"].descriptor.digest

    def test_files_outside_of_it_are_not_found(self, tmp_path: Path):
        layer = IMAGES["a"].layers[1].path
        files = {f"top/{name}": raw for name, raw in CONTAINERD.items() if name != layer}
        with pytest.raises(MissingContentError):
            written(tmp_path / "x", tar({**files, layer: CONTAINERD[layer]})).list_images()

    def test_a_link_out_of_it_is_not_followed(self, tmp_path: Path):
        files, links = saved_by_20()
        inside = {f"top/{name}": raw for name, raw in files.items() if name != "a1/layer.tar"}
        links = {"top/a1/layer.tar": "../../layer.tar", "top/b1/layer.tar": "../a1/layer.tar"}
        with pytest.raises((MissingContentError, FormatError)):
            export(written(tmp_path / "x", tar({**inside, "layer.tar": files["a1/layer.tar"]}, links)), A)


class Counting(MemorySink):
    """A sink that looks at sizes only: hashing 9 GiB takes too long."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: dict[Digest, int] = {}

    def add(self, stream: ByteStream, digest: Digest, size: int) -> None:
        view, total = memoryview(bytearray(64 << 20)), 0
        while got := stream.readinto(view):
            total += got
        self.sizes[digest] = total


def test_a_layer_of_9_gib_in_the_stream_of_an_engine() -> None:
    layer = Digest.of(b"large")
    image = make_image([gzipped(b"x")])
    value = image.raw.decode().replace(str(image.layers[0]), str(layer))
    size = f'"size": {len(image.contents[image.layers[0]])}'
    raw = f'"size": {LARGE}'.join(value.rsplit(size, 1)).encode()
    digest = Digest.of(raw)
    index = b'{"schemaVersion":2,"manifests":[{"mediaType":"%s","digest":"%s","size":%d}]}' % (
        image.descriptor.media_type.encode(), str(digest).encode(), len(raw),
    )  # fmt: skip
    files = {digest.path: raw, image.config.path: image.contents[image.config], "index.json": index}
    entry = SIZE + header(layer.path, 0)
    sink = Counting()
    (found,) = export_archive(
        Sparse(entry, LARGE, tar(files)), sink, [A.with_digest(digest)], lambda _: None, repack=False
    )
    assert found.image_id == digest
    assert sink.sizes[layer] == LARGE


def test_only_manifest_json_has_it(tmp_path: Path) -> None:
    """Docker 28 leaves the second of two image IDs out of index.json; its layers are plain tars."""
    files = saved_by_28()
    index = json.loads(files["index.json"])
    del index["manifests"][1]
    items = json.loads(files["manifest.json"])
    items[1]["RepoTags"] = None
    files |= {"index.json": json.dumps(index).encode(), "manifest.json": json.dumps(items).encode()}
    archive = written(tmp_path / "x", tar(files))
    one, two = archive.list_images()
    assert (one.names, two.names) == ((A,), ())
    found, contents = export(archive, A, B.with_digest(two.digest))
    assert [image.repacked for image in found] == [False, True]
    assert {Digest.of(raw) for raw in contents.values()} == set(contents)
    assert found[1].descriptor.digest in contents


def test_a_gzip_layer_that_only_manifest_json_has(tmp_path: Path) -> None:
    """Its diff ID is not known without unpacking, and no maker writes that."""
    files = hybrid({str(A): IMAGES["a"]}, items=[item(IMAGES["a"], "t/a:1"), item(IMAGES["b"])])
    files |= {digest.path: raw for digest, raw in IMAGES["b"].contents.items()}
    archive = written(tmp_path / "x", tar(files))
    with pytest.raises(DigestMismatchError, match="wrong layer"):
        export(archive, B.with_digest(IMAGES["b"].config))


def test_a_name_that_only_manifest_json_has_stays_refused(tmp_path: Path) -> None:
    files = hybrid({str(A): IMAGES["a"]}, items=[item(IMAGES["a"], "t/a:1"), item(IMAGES["b"], "t/b:1")])
    files |= {digest.path: raw for digest, raw in IMAGES["b"].contents.items()}
    with pytest.raises(AmbiguousError, match="disagree"):
        written(tmp_path / "x", tar(files)).list_images()


def test_an_index_is_told_apart_from_what_is_in_it(tmp_path: Path) -> None:
    index = make_index([IMAGES["a"]])
    (listed,) = written(tmp_path / "x", tar(hybrid({str(A): index}))).list_images()
    assert listed.contents == {index.descriptor.digest, IMAGES["a"].descriptor.digest}
    with pytest.raises(NotFoundError):
        written(tmp_path / "x", tar(hybrid({str(A): index}))).identify(
            A.with_digest(IMAGES["a"].descriptor.digest)
        )
