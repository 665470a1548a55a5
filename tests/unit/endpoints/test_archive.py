import os

import pytest

from airgap.endpoints.archive import Archive
from airgap.endpoints.save_stream import export_archive
from airgap.errors import AmbiguousError, EndpointError, FormatError, NotFoundError
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from tests.support.images import make_index
from tests.support.saves import (
    IDS,
    MemorySink,
    hybrid,
    images,
    item,
    saved_by_20,
    saved_by_28,
    tar,
)

A, B = ImageReference.parse("t/a:1"), ImageReference.parse("t/b:1")
IMAGES = images()
FORMS = {
    "20.10": tar(*saved_by_20()),
    "28": tar(saved_by_28()),
    "containerd": tar(hybrid({str(A): IMAGES["a"], str(B): IMAGES["b"]}, items=[item(IMAGES["a"], "t/a:1")])),
}


@pytest.fixture(params=FORMS.values(), ids=FORMS)
def form(request, tmp_path):
    path = tmp_path / "images.tar"
    path.write_bytes(request.param)
    return path


def test_its_name_is_the_argument(tmp_path):
    assert Archive(tmp_path / "x.tar").name == f"archive:{tmp_path}/x.tar"


class TestGood:
    def test_names_and_ids(self, form):
        archive = Archive(form)
        assert [(image.names, image.digest) for image in archive.list_images()] == [
            ((A,), archive.identify(A)),
            ((B,), archive.identify(B)),
        ]
        assert archive.identify(
            ImageReference.parse("x").with_digest(archive.identify(B))
        ) == archive.identify(B)

    def test_export_equals_a_single_pass(self, form):
        archive, sink, seen = Archive(form), MemorySink(), []
        found = archive.export([B, A], sink, seen.append)
        repacked = found[0].repacked
        other = MemorySink()
        with form.open("rb") as stream:
            assert found == export_archive(stream, other, [B, A], lambda _: None, repack=repacked)
        assert sink.contents == other.contents
        assert [image.image_id for image in found] == [archive.identify(B), archive.identify(A)]

    def test_export_takes_only_what_is_needed(self, form):
        one, both, seen = MemorySink(), MemorySink(), []
        Archive(form).export([A], one, seen.append)
        Archive(form).export([A, B], both, lambda _: None)
        assert len(one.contents) < len(both.contents)
        assert 0 < sum(seen) < form.stat().st_size

    def test_ids_by_form(self, tmp_path):
        expected = {"20.10": IDS["a"], "containerd": IMAGES["a"].descriptor.digest}
        for form, image_id in expected.items():
            (tmp_path / "x.tar").write_bytes(FORMS[form])
            assert Archive(tmp_path / "x.tar").identify(A) == image_id

    def test_an_image_without_a_name(self, tmp_path):
        (tmp_path / "x.tar").write_bytes(tar(hybrid({"": make_index([IMAGES["a"]])})))
        archive = Archive(tmp_path / "x.tar")
        (listed,) = archive.list_images()
        assert listed.names == ()
        sink = MemorySink()
        (found,) = archive.export([A.with_digest(listed.digest)], sink, lambda _: None)
        assert found.image_id == listed.digest
        assert len(sink.contents) == 5


class TestBad:
    def test_no_such_file(self, tmp_path):
        with pytest.raises(NotFoundError, match="no such archive"):
            Archive(tmp_path / "x.tar").list_images()

    def test_no_such_image_names_those_that_are_there(self, form):
        with pytest.raises(NotFoundError, match="no such image in the archive") as caught:
            Archive(form).identify(ImageReference.parse("other"))
        assert caught.value.hint == "it contains docker.io/t/a:1, docker.io/t/b:1"

    def test_a_folder(self, tmp_path):
        with pytest.raises(EndpointError, match="cannot read archive"):
            Archive(tmp_path).list_images()

    def test_not_readable(self, tmp_path):
        (tmp_path / "loop").symlink_to("loop")
        with pytest.raises(EndpointError, match="cannot read archive"):
            Archive(tmp_path / "loop").list_images()

    @pytest.mark.parametrize(
        ("raw", "tool"),
        [
            (b"BZh91AY", "bunzip2"), (b"\xfd7zXZ\0", "unxz"), (b"\x04\x22\x4d\x18", "unlz4"),
        ],
    )  # fmt: skip
    def test_compressed_otherwise(self, tmp_path, raw, tool):
        (tmp_path / "x.tar").write_bytes(raw)
        with pytest.raises(FormatError, match="compressed archive") as caught:
            Archive(tmp_path / "x.tar").list_images()
        assert caught.value.hint == f"unpack it first: {tool} {tmp_path}/x.tar"

    @pytest.mark.parametrize("cut", [100, 700, 2000, 6000])
    def test_truncated(self, form, cut):
        os.truncate(form, cut)
        with pytest.raises(FormatError, match=r"truncated archive|not an image archive"):
            Archive(form).list_images()

    def test_large_document(self, tmp_path):
        (tmp_path / "x.tar").write_bytes(tar({"index.json": b" " * ((4 << 20) + 1)}))
        with pytest.raises(FormatError, match=r"too large: index\.json"):
            Archive(tmp_path / "x.tar").list_images()

    def test_polyglot(self, tmp_path):
        files = hybrid({str(A): IMAGES["a"], "": IMAGES["b"]}, items=[item(IMAGES["b"], "t/a:1")])
        (tmp_path / "x.tar").write_bytes(tar(files))
        with pytest.raises(
            AmbiguousError, match=r"index\.json and manifest\.json disagree: docker\.io/t/a:1"
        ) as caught:
            Archive(tmp_path / "x.tar").list_images()
        assert isinstance(caught.value.got, Digest)
