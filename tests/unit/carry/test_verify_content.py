"""Files and content that are verified, and the order of the steps."""

from pathlib import Path

import pytest

from airgap.bundle.files import Folder
from airgap.carry import verify as module
from airgap.carry.verify import authenticate, read_envelope, verify, verify_content
from airgap.errors import (
    AirgapError,
    DestinationError,
    DigestMismatchError,
    IncompleteError,
    MediaError,
    SignatureMismatchError,
    SizeMismatchError,
    TrustError,
    UnknownKeyError,
    UnlistedContentError,
)
from airgap.oci.digest import Digest
from airgap.progress import Silent
from tests.support.bundles import ONE, STREAM, TWO, Gap, make_gap
from tests.support.images import Layer, make_image
from tests.unit.carry.verify_support import BOB, IMAGES, check, check_all


class TestOrder:
    """Two things are wrong at a time: the earlier step speaks."""

    @pytest.mark.parametrize(
        ("first", "second", "error"),
        [
            (lambda g: (g.bundle / "bundle.dsse.json").unlink(), lambda g: g.flip("index.json"), IncompleteError),
            (lambda g: g.flip("bundle.dsse.json", 12), lambda g: g.flip("statement.json"), SignatureMismatchError),
            (lambda g: g.seal(b"no JSON", BOB), lambda g: None, UnknownKeyError),
            (lambda g: g.seal(b"no JSON", payload_type="x/y"), lambda g: None, TrustError),
            (lambda g: g.restate(destinations=("x",)), lambda g: (g.bundle / "extra").write_bytes(b""), DestinationError),
            (lambda g: (g.bundle / "extra").write_bytes(b""), lambda g: g.flip("index.json"), UnlistedContentError),
            (lambda g: g.flip("index.json"), lambda g: g.flip(IMAGES[ONE].layers[1].path), DigestMismatchError),
        ],
    )  # fmt: skip
    def test_earlier(self, gap, first, second, error):
        first(gap)
        second(gap)
        with pytest.raises(error):
            check(gap)

    def test_nothing_of_the_statement_is_parsed_before_it_is_signed(self, gap, monkeypatch):
        def parse(*_):
            raise AssertionError("parsed")

        monkeypatch.setattr(module.Statement, "parse", parse)
        gap.flip("bundle.dsse.json", 12)
        with pytest.raises(SignatureMismatchError):
            check(gap)

    def test_authenticate_reads_no_other_file(self, gap):
        for path in gap.bundle.rglob("*"):
            if (
                path.is_file()
                and path.parent.name != "trust"
                and path.name not in ("bundle.dsse.json", "statement.json")
            ):
                path.unlink()
        with Folder(gap.bundle) as folder:
            assert authenticate(folder, gap.receiver()).statement.stream == STREAM


class TestFiles:
    def test_unfinished(self, gap):
        (gap.bundle / "bundle.dsse.json").rename(gap.bundle / "bundle.dsse.json.part")
        with Folder(gap.bundle) as folder, pytest.raises(IncompleteError) as caught:
            read_envelope(folder)
        assert "run the `airgap pack` that began it again" in caught.value.hint

    def test_the_folder_above(self, gap):
        with Folder(gap.bundle.parent) as folder, pytest.raises(IncompleteError) as caught:
            read_envelope(folder)
        assert caught.value.hint == f"give the folder of the bundle: {gap.bundle}"

    def test_another_copy_repairs_a_damaged_file(self, gap):
        gap.flip("index.json")
        with pytest.raises(DigestMismatchError) as caught:
            check(gap)
        assert caught.value.hint == module.REPAIR_HINT

    def test_another_copy_does_not_repair_an_additional_file(self, gap):
        (gap.bundle / "extra").write_bytes(b"")
        with pytest.raises(UnlistedContentError) as caught:
            check(gap)
        assert caught.value.hint != module.REPAIR_HINT

    def test_too_many(self, gap, monkeypatch):
        files = len(gap.files())
        monkeypatch.setattr(module, "MAX_BUNDLE_FILES", files)
        check(gap)
        monkeypatch.setattr(module, "MAX_BUNDLE_FILES", files - 1)
        with pytest.raises(UnlistedContentError, match="too many files") as caught:
            check(gap)
        assert caught.value.hint is None  # another copy has them too

    def test_a_file_that_grows_after_it_was_measured(self, gap):
        with Folder(gap.bundle) as folder:
            found = verify(folder, gap.receiver())
            gap.rewrite(IMAGES[ONE].layers[1].path, lambda raw: raw + b"x")
            wrong = verify_content(found, Silent(), 1)
        assert [type(error) for error in wrong] == [SizeMismatchError]


class TestContent:
    def test_all_that_is_wrong(self, gap, bundle):
        layers = sorted({layer for image in (ONE, TWO) for layer in IMAGES[image].layers})
        for layer in layers:
            gap.flip(layer.path)
        wrong = verify_content(bundle, Silent(), 2)
        assert sorted(str(error.subject) for error in wrong) == [
            f"{gap.bundle}/{layer.path}" for layer in layers
        ]

    def test_a_medium_that_fails_is_not_a_wrong_blob(self, bundle, monkeypatch):
        class Failing:
            def __init__(self, *_):
                raise MediaError("cannot read")

        monkeypatch.setattr(module, "CheckedReader", Failing)
        with pytest.raises(MediaError):
            verify_content(bundle, Silent(), 1)

    def test_progress_counts_every_byte(self, bundle):
        counted = []

        class Counting(Silent):
            def phase(self, title, total):
                counted.append((title, total))
                return super().phase(title, total)

        verify_content(bundle, Counting(), 1)
        blobs = {d: b.size for image in bundle.images for d, b in image.graph.contents.items()}
        assert counted == [("verifying", sum(blobs.values()))]


def test_every_error_is_ours(gap: Gap) -> None:
    """Whatever single file is replaced by whatever."""
    for path in sorted(Path(p) for p in gap.bundle.rglob("*") if p.is_file()):
        raw = path.read_bytes()
        for wrong in (b"", b"{}", b"[]", b"\0" * len(raw), raw * 2, raw[: len(raw) // 2]):
            path.write_bytes(wrong)
            with pytest.raises(AirgapError):
                check_all(gap)
        path.write_bytes(raw)


def test_a_layer_of_no_bytes(tmp_path: Path) -> None:
    empty = Layer(b"", "application/vnd.oci.image.layer.v1.tar", Digest.of(b""))
    gap = make_gap(tmp_path, images={ONE: make_image([empty])})
    with Folder(gap.bundle) as folder:
        assert verify_content(verify(folder, gap.receiver()), Silent(), 1) == []
