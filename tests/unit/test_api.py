"""The library as other programs use it."""

import json
from pathlib import Path

import pytest

from airgap import api
from airgap.offline.load_bundle import load_bundle
from airgap.progress import Silent
from airgap.site import now
from tests.support.bundles import Gap, make_gap
from tests.support.memory import MemoryContent


@pytest.fixture(scope="module")
def sealed(tmp_path_factory: pytest.TempPathFactory) -> Gap:
    return make_gap(tmp_path_factory.mktemp("sealed"), now=now())


@pytest.fixture
def gap(sealed: Gap, tmp_path: Path) -> Gap:
    return sealed.copy(tmp_path / "gap")


def test_a_bundle(gap: Gap) -> None:
    bundle = api.verify([gap.bundle], home=gap.home)
    statement = gap.statement
    assert (bundle.stream, bundle.serial, bundle.epoch) == (
        statement.stream,
        statement.serial,
        statement.epoch,
    )
    assert [image.name for image in bundle.images] == [str(record.name) for record in statement.images]
    assert all(image.digest.startswith("sha256:") for image in bundle.images)
    assert bundle.owners == ("alice",)
    assert bundle.key_ids == (gap.key.public_key.keyid,)
    assert bundle.alarms == ()


def test_it_is_recorded(gap: Gap) -> None:
    api.verify([gap.bundle], home=gap.home)
    last = json.loads(gap.site.ledger_path.read_bytes().splitlines()[-1])
    assert (last["event"], last["phase"], last["result"]) == ("verify", "end", "ok")


def test_a_changed_bundle_is_refused_with_the_exit_code_of_the_command(gap: Gap) -> None:
    path = min((gap.bundle / "blobs" / "sha256").iterdir())
    path.write_bytes(path.read_bytes() + b"x")
    with pytest.raises(api.AirgapError) as caught:
        api.verify([gap.bundle], home=gap.home)
    assert caught.value.exit_code == 12


def test_a_place_without_a_bundle(gap: Gap, tmp_path: Path) -> None:
    with pytest.raises(api.AirgapError):
        api.verify([tmp_path / "none"], home=gap.home)


def test_a_place_without_a_site(gap: Gap, tmp_path: Path) -> None:
    with pytest.raises(api.AirgapError):
        api.verify([gap.bundle], home=tmp_path / "none")


def test_a_receipt(gap: Gap) -> None:
    report = load_bundle(gap.bundle, gap.site, MemoryContent(), gap.now, jobs=1, progress=Silent())
    receipt = api.read_receipt(report.receipt, home=gap.home)
    assert (receipt.site, receipt.stream, receipt.serial) == ("plant-7", "edge", 1)
    assert receipt.result == "ok"
    assert [image.verdict for image in receipt.images] == ["loaded"] * len(gap.statement.images)


def test_a_receipt_that_was_changed_is_refused(gap: Gap, tmp_path: Path) -> None:
    (tmp_path / "x.receipt.json").write_bytes(b"{}\n")
    with pytest.raises(api.AirgapError) as caught:
        api.read_receipt(tmp_path / "x.receipt.json", home=gap.home)
    assert caught.value.exit_code == 10
