"""A search that reads few receipts and envelopes finds what a search of all of them finds."""

from dataclasses import replace
from pathlib import Path

import pytest

from airgap.review.find import find
from airgap.review.kept_search import kept_about
from airgap.review.records import Kept
from airgap.site import Site
from airgap.trust.envelope import Envelope
from tests.bench.growing_site import make_site


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """A site with 6 bundles of which each has two receipts; one receipt is of a bundle of others."""
    return Site(make_site(tmp_path_factory.mktemp("site"), records=24, receipts=12, bundles=6))


def texts(site: Site) -> list[str]:
    kept = Kept.of(site)
    receipt, statement = kept.receipts[0].receipt, kept.sealed[0].statement
    blob = next(name for name in statement.subjects if name.startswith("blobs/")).split("/")[-1]
    return [
        f"sha256:{blob[:12]}", blob[:12], blob[5:20].upper(), statement.title, "edge-0003", "EDGE-00", "dge-0006",
        receipt.site, receipt.by, receipt.target, receipt.images[0].reference, receipt.images[0].digest,
        receipt.statement_sha256, kept.sealed[3].statement_sha256[:20], "alice", "ALI", "a site of nobody",
        "---", "\u00e9", "team-1/app", "plant", "one:1", "registry.test/one", "0004", "statement", "/",
    ]  # fmt: skip


def test_a_search_finds_what_a_search_of_everything_finds(site: Site) -> None:
    everything, found = Kept.of(site), 0
    assert (len(everything.sealed), len(everything.receipts)) == (6, 12)
    for text in texts(site):
        few = find(site.ledger_path, site.name, kept_about(site, text), text)
        assert few == find(site.ledger_path, site.name, everything, text), text
        found += bool(few)
    assert found > 15


def test_few_files_are_read(site: Site) -> None:
    kept = kept_about(site, "edge-0003")
    assert {sealed.statement.serial for sealed in kept.sealed} == {3}
    assert {answer.receipt.serial for answer in kept.receipts} == {3}
    assert kept_about(site, "a site of nobody") == replace(Kept.of(site), sealed=(), receipts=())


@pytest.mark.parametrize(
    "raw", [b"", b"x", b'{"payload":"', b'{"payload":"!"}', b'{"payload":"YQ', b'{"payload":"YQ=="}\n']
)
def test_a_file_that_is_not_a_receipt_is_read_as_always(
    site: Site, tmp_path: Path, raw: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.receipt.json"
    path.write_bytes(raw)
    kept_receipts = site.kept_receipts()
    monkeypatch.setattr(Site, "kept_receipts", lambda _: [*kept_receipts, path])
    for text in ("edge-0003", "a site of nobody"):
        few = find(site.ledger_path, site.name, kept_about(site, text), text)
        assert few == find(site.ledger_path, site.name, Kept.of(site), text)


def test_a_forged_receipt_is_not_found(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its bytes match, so it is read, and then its signature does not count."""
    original = site.kept_receipts()[0]
    envelope = Envelope.parse(original.read_bytes(), "x")
    forged = replace(envelope, payload=envelope.payload.replace(b"registry.test/one", b"registry.test/own"))
    path = tmp_path / "forged.receipt.json"
    path.write_bytes(forged.to_bytes())
    monkeypatch.setattr(Site, "kept_receipts", lambda _: [original, path])
    kept = kept_about(site, "registry.test/own")
    assert list(kept.unreadable) == [path]
    assert find(site.ledger_path, site.name, kept, "registry.test/own") == []
