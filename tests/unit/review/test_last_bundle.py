from dataclasses import replace
from pathlib import Path

import pytest

from airgap.audit import lines
from airgap.audit.report import entries, newest_first
from airgap.bundle.statement import Statement
from airgap.review import last_bundle
from airgap.review.last_bundle import last_known
from airgap.site import Site
from tests.support.bundles import make_gap

IMAGE = "sha256:" + "a" * 64


@pytest.fixture(scope="module")
def statement(tmp_path_factory: pytest.TempPathFactory) -> Statement:
    return make_gap(tmp_path_factory.mktemp("gap")).statement


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site.create(tmp_path / "home", "hq")


def check(site: Site, serial: object, *, stream: str = "edge", epoch: int = 1, **more: object) -> None:
    """Record that a bundle was checked here; its only image is named by its serial."""
    with site.ledger().attempt("verify", path="/media/x") as attempt:
        bundle = {"stream": stream, "serial": serial, "epoch": epoch, "statement_sha256": "5" * 64}
        attempt.add(**{"bundle": bundle, "images": [{"reference": f"app:{serial}", "digest": IMAGE}]} | more)


def known(site: Site, statement: Statement, serial: int, epoch: int = 1) -> list[str]:
    found = last_known(site, replace(statement, stream="edge", serial=serial, epoch=epoch))
    return list(found.images) if found else []


@pytest.mark.parametrize(
    ("serial", "epoch", "images"),
    [
        (1, 1, []), (2, 1, ["app:1"]), (3, 1, ["app:1"]), (4, 1, ["app:3"]), (9, 1, ["app:5"]),
        (1, 2, ["app:5"]), (2, 2, ["app:1"]), (9, 2, ["app:1"]), (2, 3, ["app:1"]),
    ],
)  # fmt: skip
def test_the_newest_bundle_before_it_is_found(
    site: Site, statement: Statement, serial: int, epoch: int, images: list[str]
) -> None:
    for checked in (5, 1, 3):
        check(site, checked)
    check(site, 1, epoch=2)
    check(site, 8, stream="other")
    check(site, "7")
    check(site, 8, images=[])
    assert known(site, statement, serial, epoch) == images


def test_of_two_checks_of_one_bundle_the_later_counts(site: Site, statement: Statement) -> None:
    check(site, 1, images=[{"reference": "old:1", "digest": IMAGE}])
    check(site, 1)
    assert known(site, statement, 2) == ["app:1"]


def test_a_refused_bundle_does_not_count(site: Site, statement: Statement) -> None:
    ledger = site.ledger()
    begin = ledger.append("verify", "begin").seq
    bundle = {"stream": "edge", "serial": 1, "epoch": 1}
    ledger.append(
        "verify", "end", begin=begin, result="refused", bundle=bundle, images=[{"reference": "x:1"}]
    )
    assert known(site, statement, 2) == []


def test_the_ledger_is_read_from_its_end(
    site: Site, statement: Statement, monkeypatch: pytest.MonkeyPatch
) -> None:
    for serial in range(1, 60):
        check(site, serial)
    monkeypatch.setattr(lines, "_BLOCK_BYTES", 4096)
    entry_count = 0

    def counted(path: Path) -> object:
        nonlocal entry_count
        for entry in newest_first(path):
            entry_count += 1
            yield entry

    monkeypatch.setattr(last_bundle, "newest_first", counted)
    assert known(site, statement, 59) == ["app:58"]
    assert entry_count == 2


@pytest.mark.parametrize("size", [1, 50, 1000, 1 << 20])
def test_backwards_there_are_the_same_entries(site: Site, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    check(site, 1)
    ledger = site.ledger()
    ledger.append("load", "begin", target="never-ended")
    ledger.append("load", "end", begin=99, result="ok")
    ledger.append("load", "end", begin=1, result="ok")
    check(site, 2)
    monkeypatch.setattr(lines, "_BLOCK_BYTES", size)
    backwards = sorted(newest_first(site.ledger_path), key=lambda entry: entry.seq)
    assert backwards == entries(site.ledger_path)
    assert b"\n".join(reversed(list(lines.read_backwards(site.ledger_path)))) == site.ledger_path.read_bytes()
