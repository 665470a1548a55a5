"""From the medium to the receipt: what is remembered, and when."""

import errno
import json
import os
from dataclasses import fields, replace
from pathlib import Path

import pytest

from airgap.audit.receipt import Receipt
from airgap.bundle.files import is_absent
from airgap.carry.verify_recorded import verify_whole_bundle
from airgap.errors import (
    DestinationError,
    DigestMismatchError,
    EndpointError,
    ExpiredError,
    IntegrityError,
    MediaError,
    NoTrustRootError,
    PartialError,
    PolicyError,
    RollbackError,
    TrustError,
    UsageError,
)
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from airgap.offline.load_bundle import load_bundle
from airgap.offline.load_options import LoadOptions
from airgap.offline.loader import ConflictRule
from airgap.progress import Silent
from airgap.site import Mark, Site
from airgap.trust.envelope import Envelope
from airgap.trust.keys import SigningKey
from tests.support.bundles import (
    DAY,
    MULTI,
    NOW,
    ONE,
    SENDER,
    STREAM,
    TWO,
    Gap,
    pack_layout,
    sign_root,
    small_images,
)
from tests.support.images import simple_image, write_layout
from tests.support.memory import MemoryContent, MemoryEngine, MemoryFile

IMAGES = small_images()
LAYER = IMAGES[ONE].layers[1]


class Listening(Silent):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)


def load(gap: Gap, target, **options):
    """Load the gap's bundle; `options` are those of `load_bundle` and of `LoadOptions`."""
    given = {"jobs": 2, "progress": Silent()} | options
    choices = LoadOptions(
        **{field.name: given.pop(field.name) for field in fields(LoadOptions) if field.name in given}
    )
    place, now = given.pop("path", gap.bundle), given.pop("now", gap.now)
    return load_bundle(place, gap.site, target, now, choices, **given)


def check(gap: Gap, progress=None):
    return verify_whole_bundle(gap.bundle, gap.site, gap.now, 2, progress or Silent())


def ended(gap: Gap) -> dict:
    begin, end = [json.loads(line) for line in gap.site.ledger_path.read_bytes().splitlines()][-2:]
    assert (begin["phase"], end["phase"], end["begin"]) == ("begin", "end", begin["seq"])
    return begin | end


def mark(gap: Gap) -> Mark | None:
    return gap.site.received(STREAM)


class TestVerify:
    def test_a_good_bundle_is_verified_and_recorded(self, gap):
        bundle = check(gap)
        assert mark(gap) is None, "verifying accepts nothing"
        end = ended(gap)
        assert (end["event"], end["result"], end["exit_code"], end["wrong"]) == ("verify", "ok", 0, [])
        assert end["bundle"] == {
            "stream": STREAM,
            "serial": 1,
            "epoch": 1,
            "statement_sha256": bundle.statement_sha256,
        }
        assert end["checks"]["owners"] == ["alice"]
        assert end["images"][0] == {
            "reference": ONE,
            "digest": str(IMAGES[ONE].descriptor.digest),
            "platforms": ["linux/amd64"],
        }
        assert end["transfer"] == []

    def test_what_is_stated_is_recorded_up_to_a_limit(self, gap):
        """A record of the ledger has a limit, and a statement may say more."""
        gap.restate(transfer={"ticket": "CHG-7"} | {f"{number:04d}": "x" * 2000 for number in range(200)})
        check(gap)
        stated = ended(gap)["transfer"]
        assert (len(stated), {len(text) for text in stated}) == (100, {1000})
        gap.restate(transfer={"ticket": "CHG-7", "approver": "Anne"})
        check(gap)
        assert ended(gap)["transfer"] == ["approver=Anne", "ticket=CHG-7"]

    def test_one_wrong_blob(self, gap):
        gap.flip(LAYER.path)
        with pytest.raises(DigestMismatchError):
            check(gap)
        end = ended(gap)
        assert end["result"] == "refused"
        assert end["wrong"] == [end["error"]]

    def test_several_are_all_told(self, gap):
        for layer in IMAGES[ONE].layers:
            gap.flip(layer.path)
        with pytest.raises(IntegrityError, match="got 2 wrong blobs") as caught:
            check(gap, Silent())
        assert len(caught.value.parts) == len(ended(gap)["wrong"]) == 2
        assert all(str(part).startswith("wrong digest: ") for part in caught.value.parts)

    def test_roots_that_came_are_kept(self, gap):
        gap.put_root(replace(gap.root.root, version=2))
        check(gap)
        assert sorted(gap.site.roots()) == [1, 2]
        assert gap.site.root().root.version == 2

    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            ({"destinations": ("plant-8",)}, DestinationError),
            ({"expires": NOW}, ExpiredError),
            ({"epoch": 2}, RollbackError),
        ],
        ids=["another site's", "expired", "of another epoch"],
    )
    def test_roots_of_a_refused_bundle_are_kept(self, gap, changes, error):
        """TUF 5.3.8: a thief's last bundle must not be the one that keeps the new root away."""
        gap.put_root(replace(gap.root.root, version=2))
        gap.restate(**changes)
        with pytest.raises(error):
            check(gap)
        assert sorted(gap.site.roots()) == [1, 2]

    def test_a_good_root_is_kept_though_the_next_is_forged(self, gap):
        two = replace(gap.root.root, version=2)
        gap.put_root(two)
        raw = sign_root(replace(two, version=3), SigningKey.generate())
        gap.forge({"trust/3.root.json": raw})
        with pytest.raises(TrustError):
            check(gap)
        assert sorted(gap.site.roots()) == [1, 2]

    def test_no_root(self, gap):
        (gap.home / "trust" / "1.root.json").unlink()
        with pytest.raises(NoTrustRootError, match="no trust root is installed here"):
            check(gap)
        assert ended(gap)["result"] == "refused"


class TestLoad:
    def test_a_good_bundle_is_loaded_and_accepted(self, gap):
        target = MemoryContent()
        report = load(gap, target)
        assert (report.failed, report.failure) == ([], None)
        sha256 = Digest.of(gap.envelope.payload).hex
        assert mark(gap) == Mark(1, 1, sha256)
        end = ended(gap)
        assert (end["result"], end["exit_code"], end["target"]) == ("ok", 0, "oci:memory")
        assert end["effect"][0] == {
            "reference": ONE,
            "verdict": "loaded",
            "before": None,
            "after": str(IMAGES[ONE].descriptor.digest),
            "error": None,
        }
        assert end["receipt"] == str(report.receipt)

    def test_receipt(self, gap):
        report = load(gap, MemoryEngine())
        envelope = Envelope.parse(report.receipt.read_bytes(), "receipt")
        assert gap.site.key.public_key.verify(envelope.message, envelope.signatures[0].sig)
        receipt = Receipt.parse(envelope.payload, "receipt")
        assert (receipt.result, receipt.serial, receipt.target, receipt.target_version) == (
            "ok",
            1,
            "docker",
            "1.0",
        )
        assert receipt.statement_sha256 == Digest.of(gap.envelope.payload).hex
        assert [image.reference for image in receipt.images] == [ONE, TWO, MULTI]
        assert receipt.time == gap.now

    def test_again(self, gap):
        target = MemoryContent()
        first, second = load(gap, target), load(gap, target)
        assert {result.verdict for result in second.results} == {"already there"}
        assert second.bundle.repeat
        assert first.receipt != second.receipt
        assert ended(gap)["checks"]["repeat"] is True

    def test_the_mark_is_there_before_names_move(self, gap):
        seen = []

        class Watching(MemoryContent):
            def put_blob(self, *arguments):
                seen.append(mark(gap))
                super().put_blob(*arguments)

        load(gap, Watching())
        assert set(seen) == {Mark(1, 1, Digest.of(gap.envelope.payload).hex)}

    def test_another_load_has_raised_the_mark(self, gap):
        newer = Mark(1, 2, Digest.of(b"newer").hex)

        class Slow(MemoryContent):
            def find(self, reference):
                gap.site.set_received(STREAM, newer)
                return super().find(reference)

        target = Slow()
        with pytest.raises(RollbackError, match="older than the last accepted bundle"):
            load(gap, target)
        assert (mark(gap), target.names, target.contents) == (newer, {}, {})

    def test_a_repeat_does_not_lower_the_mark(self, gap):
        load(gap, MemoryContent())
        before = (gap.home / "received" / f"{STREAM}.json").stat().st_mtime_ns
        load(gap, MemoryContent())
        assert (gap.home / "received" / f"{STREAM}.json").stat().st_mtime_ns == before

    def test_no_mark_for_what_is_refused(self, gap):
        with pytest.raises(PolicyError):
            load(gap, MemoryContent(names={ONE: Digest.of(b"x")}), on_conflict=ConflictRule.REFUSE)
        assert mark(gap) is None
        assert ended(gap)["result"] == "refused"
        assert not (gap.home / "receipts").exists()

    def test_no_record_of_a_path_where_nothing_is(self, gap, tmp_path):
        (tmp_path / "link").symlink_to("nothing")
        before = gap.site.ledger_path.read_bytes()
        for name, more in (("nowhere", ""), ("no/where", ""), ("link", ", got a symbolic link to nothing")):
            with pytest.raises(UsageError, match=f"^no such file or folder: {tmp_path / name}{more}$"):
                load(gap, MemoryContent(), path=tmp_path / name)
        assert gap.site.ledger_path.read_bytes() == before

    def test_a_medium_that_fails_is_not_absent(self, gap, monkeypatch):
        def fail(path):
            raise OSError(errno.EIO, os.strerror(errno.EIO), path)

        monkeypatch.setattr(Path, "stat", fail)
        assert not is_absent(gap.bundle)

    def test_no_mark_and_no_load_for_a_bad_bundle(self, gap):
        gap.flip("index.json")
        target = MemoryContent()
        with pytest.raises(DigestMismatchError):
            load(gap, target)
        assert (mark(gap), target.log) == (None, [])

    def test_a_mark_that_cannot_be_kept_stops_it(self, gap):
        (gap.home / "received").write_bytes(b"")
        target = MemoryContent()
        with pytest.raises(MediaError):
            load(gap, target)
        assert target.log == []

    def test_a_target_that_is_away(self, gap):
        class Away(MemoryContent):
            def find(self, reference: ImageReference):
                raise EndpointError("away")

        with pytest.raises(EndpointError):
            load(gap, Away())
        assert mark(gap) is None
        assert ended(gap)["result"] == "failed"

    def test_some_failed(self, gap):
        gap.flip(LAYER.path)
        report = load(gap, MemoryContent())
        assert isinstance(report.failure, PartialError)
        assert str(report.failure) == "some images were not loaded, got 1 of 3"
        end = ended(gap)
        assert (end["result"], end["exit_code"]) == ("partial", 3)
        assert end["effect"][0]["error"].startswith("wrong digest: ")
        receipt = Receipt.parse(Envelope.parse(report.receipt.read_bytes(), "r").payload, "r")
        assert (receipt.result, receipt.images[0].verdict) == ("partial", "failed")
        assert str(LAYER) not in receipt.holds
        assert str(IMAGES[TWO].layers[1]) in receipt.holds

    def test_all_failed(self, gap):
        report = load(gap, MemoryContent(lies=True))
        assert isinstance(report.failure, EndpointError)
        end = ended(gap)
        assert (end["result"], end["exit_code"]) == ("failed", EndpointError.exit_code)
        receipt = Receipt.parse(Envelope.parse(report.receipt.read_bytes(), "r").payload, "r")
        assert (receipt.result, receipt.holds) == ("failed", ())

    def test_a_load_succeeds_when_the_holdings_cannot_be_saved(self, gap):
        """The load succeeds and is reported; the holdings only save later loads work."""
        (gap.home / "holdings").touch()
        listening = Listening()
        report = load(gap, MemoryContent(), progress=listening)
        assert report.failure is None
        assert report.receipt.exists()
        assert (ended(gap)["result"], ended(gap)["exit_code"]) == ("ok", 0)
        [note] = [note for note in listening.notes if "was not saved" in note]
        assert str(gap.home / "holdings") in note

    def test_archive(self, gap):
        target = MemoryFile()
        assert load(gap, target).failure is None
        assert target.raw is not None


class TestStream:
    """Three bundles of one stream."""

    @pytest.fixture
    def serials(self, gap):
        sender = Site(gap.folder / "online")
        bundles = [gap.bundle]
        for number in (2, 3):
            layout = write_layout(gap.folder / f"layout-{number}", {ONE: simple_image(f"v{number}")})
            bundles.append(pack_layout(layout, sender, gap.key, gap.folder / "stick", now=gap.now))
        assert [path.name for path in bundles] == [f"{STREAM}-000{n}" for n in (1, 2, 3)]
        assert sender.name == SENDER
        return bundles

    def test_in_order(self, gap, serials):
        target = MemoryContent()
        for path in serials:
            assert load(gap, target, path=path).bundle.missed == 0
        assert mark(gap).serial == 3
        assert target.names[ONE] == simple_image("v3").descriptor.digest

    def test_bundles_that_never_arrived_are_named(self, gap, serials):
        progress = Listening()
        load(gap, MemoryContent(), path=serials[0])
        load(gap, MemoryContent(), path=serials[2], progress=progress)
        assert progress.notes == [f"{STREAM}-0002 never arrived here"]

    def test_back(self, gap, serials):
        target = MemoryContent()
        load(gap, target, path=serials[1])
        names = dict(target.names)
        with pytest.raises(RollbackError, match="older than the last accepted bundle"):
            load(gap, target, path=serials[0])
        assert (target.names, mark(gap).serial) == (names, 2)

    def test_expired_since(self, gap, serials):
        load(gap, MemoryContent(), path=serials[0])
        with pytest.raises(RollbackError, match="the bundle has expired"):
            load(gap, MemoryContent(), path=serials[0], now=gap.now + 100 * DAY)
