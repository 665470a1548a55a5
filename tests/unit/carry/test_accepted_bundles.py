"""What a site remembers of the bundles that it accepted: ledger and kept envelope must agree."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airgap.audit.facts import AcceptedRecords
from airgap.audit.ledger import Ledger
from airgap.bundle.statement import Requirement, Statement
from airgap.carry.accepted_bundles import AcceptedBundles, needs
from airgap.errors import LedgerError
from airgap.oci.digest import Digest
from airgap.site import Mark, MarkKind, Site
from airgap.trust.envelope import STATEMENT_TYPE, Envelope
from airgap.trust.keys import SigningKey
from tests.unit.bundle.test_statement import PLAIN

KEY = SigningKey.generate()
BLOB = Digest.of(b"layer")


def bundle(serial: int, *, full: bool = False) -> tuple[Statement, str]:
    """A bundle that has, or needs, the blob."""
    subjects = {**PLAIN.subjects, BLOB.path: BLOB.hex} if full else PLAIN.subjects
    requires = () if full else (Requirement(BLOB, 5, ("a",)),)
    statement = replace(PLAIN, stream="edge", serial=serial, epoch=1, subjects=subjects, requires=requires)
    return statement, Digest.of(statement.to_bytes()).hex


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site.create(tmp_path / "plant", "plant")


def keep(site: Site, statement: Statement, name: int | None = None) -> None:
    raw = Envelope.sign(STATEMENT_TYPE, statement.to_bytes(), [KEY]).to_bytes()
    site.keep_envelope("edge", name or statement.serial, statement.epoch, raw, MarkKind.RECEIVED)


def record(site: Site, statement: Statement, sha256: str, stream: str = "edge") -> None:
    ledger = Ledger(site.ledger_path, site="plant", clock=lambda: datetime(2026, 1, 1, tzinfo=UTC))
    mark = Mark(statement.epoch, statement.serial, sha256)
    with ledger.attempt("load") as attempt:
        attempt.add(accepted={"stream": stream, **mark.value})


def test_both_memories_are_needed(site: Site) -> None:
    (statement, sha256), memory = bundle(1), AcceptedBundles(site)
    assert not memory.include(statement, sha256)
    record(site, statement, sha256)
    assert not memory.include(statement, sha256)
    keep(site, statement)
    assert memory.include(statement, sha256)
    assert not memory.include(statement, "0" * 64)


def test_an_envelope_without_a_record_is_not_enough(site: Site) -> None:
    statement, sha256 = bundle(1)
    keep(site, statement)
    other, other_sha256 = bundle(2)
    record(site, other, other_sha256)
    record(site, statement, sha256, stream="edge2")
    record(site, statement, "0" * 64)
    assert not AcceptedBundles(site).include(statement, sha256)


def test_the_envelope_of_another_bundle_is_not_enough(site: Site) -> None:
    statement, sha256 = bundle(1)
    record(site, statement, sha256)
    keep(site, bundle(2)[0], name=1)
    assert not AcceptedBundles(site).include(statement, sha256)


def test_the_mark_is_enough_for_its_own_bundle(site: Site) -> None:
    statement, sha256 = bundle(1)
    site.set_received("edge", Mark(1, 1, sha256))
    assert AcceptedBundles(site).include(statement, sha256)
    assert not AcceptedBundles(site).include(*bundle(1, full=True))


def test_only_accepted_newer_bundles_need_an_older_one(site: Site) -> None:
    (full, _), memory = bundle(1, full=True), AcceptedBundles(site)
    for serial in (4, 2, 3):
        statement, sha256 = bundle(serial)
        keep(site, statement)
        if serial != 3:
            record(site, statement, sha256)
    assert [newer.serial for newer in memory.needing(full)] == [4, 2]
    assert memory.needing(replace(full, serial=4)) == ()
    assert memory.needing(replace(full, epoch=2)) == ()
    assert memory.needing(bundle(1)[0]) == ()
    assert needs(bundle(2)[0], full)


def test_a_ledger_that_was_changed_says_nothing(site: Site) -> None:
    statement, sha256 = bundle(1)
    record(site, statement, sha256)
    record(site, *bundle(2))
    assert len(site.accepted.of("edge")) == 2
    record(site, *bundle(3))
    assert len(site.accepted.of("edge")) == 3
    raw = site.ledger_path.read_bytes()
    site.ledger_path.write_bytes(raw.replace(b'"serial":1', b'"serial":4'))
    with pytest.raises(LedgerError, match="broken chain"):
        AcceptedRecords(site.ledger_path).of("edge")
    assert AcceptedRecords(site.home / "nothing").of("edge") == frozenset()
