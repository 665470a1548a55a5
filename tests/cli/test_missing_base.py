"""A load that lacks the base of a delta names what the delta builds on, and what this site knows of it."""

import json
import shutil
from pathlib import Path

import pytest

from airgap.bundle.statement import Statement
from airgap.errors import MissingBaseError
from airgap.oci.digest import Digest
from airgap.offline.missing_base import explain_missing_base, missing_layers
from airgap.site import Site
from tests.cli.conftest import Gap, Side
from tests.support.images import Layer, make_image, noise

BASE = Layer.of({"base": noise(4_000, 1)})
ONE = make_image([BASE])
TWO = make_image([BASE, Layer.of({"more": noise(900, 2)})])


@pytest.fixture
def receipt(gap: Gap) -> Path:
    """The receipt of the first bundle, which the plant loaded into `oci:first`."""
    gap.online("pack", gap.layout(api=ONE), "--to", gap.stick)
    gap.offline("load", gap.stick / "stack-0001", "--to", f"oci:{gap.folder}/first")
    (path,) = (gap.stick / "receipts").iterdir()
    return path


def pack_delta(gap: Gap, since: object) -> Path:
    made = gap.online("pack", gap.layout(api=TWO), "--to", gap.stick, "--since", since, "--json").json
    assert made["requires"]["count"] == 1
    return Path(made["bundle"])


def refused(side: Side, delta: Path, target: Path) -> str:
    done = side("load", delta, "--to", f"oci:{target}", code=19)
    assert "error: the base is not at the target" in done.err
    assert str(Digest.of(BASE.blob)) in done.err
    return done.err


def test_another_target_was_meant(gap: Gap, receipt: Path) -> None:
    err = refused(gap.offline, pack_delta(gap, receipt), gap.folder / "other")
    sha256 = Digest.of(receipt.read_bytes()).hex
    assert "got a delta on stack-0001 by the receipt of 20" in err
    assert f"({sha256[:12]}…, which is of a load into oci:{gap.folder}/first)" in err
    assert f"`airgap load stack-0001 stack-0002 --to oci:{gap.folder}/other`" in err


def test_the_target_has_lost_it(gap: Gap, receipt: Path) -> None:
    delta = pack_delta(gap, receipt)
    shutil.rmtree(gap.folder / "first")
    assert "when this target had it: it was lost since)" in refused(gap.offline, delta, gap.folder / "first")
    shutil.rmtree(gap.offline.home / "receipts")  # the ledger remembers it too
    assert "when this target had it: it was lost since)" in refused(gap.offline, delta, gap.folder / "first")


def test_the_site_has_lost_its_memory(gap: Gap, receipt: Path) -> None:
    delta = pack_delta(gap, receipt)
    receipts = gap.offline.home / "receipts"
    for path in receipts.iterdir():
        path.write_text("{}")
    ledger = gap.offline.home / "ledger.jsonl"
    ledger.write_text(ledger.read_text().replace("receipt_sha256", "receipt_sha250"))
    assert "which this site does not have)" in refused_words(gap, delta)


def refused_words(gap: Gap, delta: Path) -> str:
    """The explanation alone: a ledger that somebody changed is refused earlier by the commands."""
    statement = Statement.parse((delta / "statement.json").read_bytes())
    error = missing_layers([Digest.of(BASE.blob)], "x", subject="t", hint="h")
    with (
        pytest.raises(MissingBaseError) as caught,
        explain_missing_base(statement, Site(gap.offline.home), "t"),
    ):
        raise error
    return str(caught.value)


def test_a_site_that_is_not_among_the_bases(gap: Gap, receipt: Path, bob: Side) -> None:
    err = refused(bob, pack_delta(gap, receipt), gap.folder / "lab")
    assert "got receipts of plant-7 only, and none of lab" in err
    assert (
        "hint: ask the sender for a full bundle (airgap pack --full); nothing was changed; if a receipt"
        in err
    )


def test_a_bundle_that_every_site_was_assumed_to_have(gap: Gap, receipt: Path, bob: Side) -> None:
    delta = pack_delta(gap, 1)
    err = refused(bob, delta, gap.folder / "lab")
    assert "got a delta on stack-0001 (never accepted here)" in err
    assert "hint: load stack-0001 first, or name it in the same command" in err
    bob("load", gap.stick / "stack-0001", delta, "--to", f"oci:{gap.folder}/lab")
    err = refused(bob, delta, gap.folder / "lab2")
    assert "got a delta on stack-0001 (accepted here before)" in err
    assert "`airgap load stack-0001 stack-0002 --to oci:" in err


def test_it_is_shown_before_it_is_loaded(gap: Gap, receipt: Path) -> None:
    plan = gap.online("plan", gap.layout(api=TWO), "--since", receipt, "--json").json
    delta = pack_delta(gap, receipt)
    shown = gap.offline("inspect", delta, "--json").json
    [base] = shown["builds_on"]
    assert plan["builds_on"] == [base]
    assert (base["title"], base["site"]) == ("stack-0001", "plant-7")
    assert base["receipt_sha256"] == Digest.of(receipt.read_bytes()).hex
    assert "builds on stack-0001: receipts of plant-7 (20" in gap.offline("inspect", delta).out
    assert gap.offline("inspect", gap.stick / "stack-0001", "--json").json["builds_on"] == []
    assert "bases" not in json.loads((gap.stick / "stack-0001/statement.json").read_text())["predicate"]


def test_the_same_images_on_another_base_make_a_new_bundle(gap: Gap, receipt: Path) -> None:
    assert pack_delta(gap, receipt) == pack_delta(gap, receipt)
    assert pack_delta(gap, 1).name == "stack-0003"


def test_serve_says_it_too(gap: Gap, receipt: Path) -> None:
    done = gap.offline("serve", pack_delta(gap, receipt), "--port", 0, code=19)
    assert "got a delta on stack-0001 by the receipt of 20" in done.err
    assert "`airgap serve stack-0001 stack-0002`" in done.err
