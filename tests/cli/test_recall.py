"""A bundle that must not be used any more: `airgap recall`, and what each side makes of it."""

import json
import re
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import NoReturn
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from airgap.errors import MediaError
from airgap.site import Site
from airgap.trust.proposal import Proposal
from airgap.trust.root import SignedRoot
from tests.cli.conftest import PASSPHRASE, Gap, Side, files_of
from tests.cli.processes import PATIENCE, started
from tests.cli.test_older import images_of
from tests.cli.trust_support import proposed, version
from tests.support.bundles import sign_root
from tests.unit.review.conftest import knows

REASON = "CHG-91: app leaks a key"


def pack(gap: Gap, serial: int, *words: object) -> Path:
    gap.online("pack", gap.layout(**images_of(serial)), "--to", gap.stick, *words)
    return gap.stick / f"stack-{serial:04d}"


def first_target(gap: Gap) -> str:
    return f"oci:{gap.folder / 'first'}"


@pytest.fixture
def loaded(gap: Gap) -> Gap:
    """A full bundle and a delta, both confirmed by plant-7, whose key the root has."""
    site = Site(gap.online.home)
    root = knows(site.root().root, ("plant-7", Site(gap.offline.home).key))
    raw = sign_root(root, site.signing_key(None, PASSPHRASE.encode))
    site.install_root(SignedRoot.parse(raw, "root"))
    for serial, words in ((1, ()), (2, ("--since", 1))):
        gap.offline("load", pack(gap, serial, *words), "--to", first_target(gap))
    gap.online("receipt", "import", gap.stick)
    return gap


def recall(gap: Gap, serial: int = 2) -> Path:
    """The trust root that recalls a bundle."""
    return Path(gap.online("recall", f"stack-{serial:04d}", "--reason", REASON, "--json").json["path"])


@pytest.fixture
def known(loaded: Gap) -> Gap:
    """The second bundle is recalled, and the receiving side knows."""
    loaded.offline("trust", "install", recall(loaded))
    return loaded


def test_a_running_server_refuses_it(loaded: Gap) -> None:
    bundles = [loaded.stick / f"stack-000{serial}" for serial in (1, 2)]
    words = ("serve", *bundles, "--port", "0", "--json")
    with started(loaded.offline.home, *words, stdout=subprocess.PIPE) as process:
        told = json.loads(b"".join([*iter(process.stdout.readline, b"}\n"), b"}"]))
        url = f"http://{told['address']}/v2/{told['repositories'][0]}/manifests/"
        with urlopen(url + "1", timeout=PATIENCE) as answer:
            digest = answer.headers["Docker-Content-Digest"]
        loaded.offline("trust", "install", recall(loaded, 1))  # the base of what is served
        for path in (url + "1", url + digest, url.replace("manifests", "blobs") + digest):
            with pytest.raises(HTTPError, match="403") as caught:
                urlopen(path, timeout=PATIENCE)
            with caught.value as answer:
                assert b"the bundle is recalled" in answer.read()


# -- the sending side


def test_recall_says_who_has_it_and_what_to_do(loaded: Gap) -> None:
    out = loaded.online("recall", "stack-0002", "--reason", f" {REASON} ").out
    assert re.search(
        rf"^new: recalled statement [0-9a-f]{{64}}: stack-0002, epoch 1: {REASON} \(", out, re.MULTILINE
    )
    assert f"  airgap trust install {loaded.online.home}/trust/3.root.json\n" in out
    assert "confirmed by: plant-7\n" in out
    assert f"still at plant-7: {first_target(loaded)}\n" in out
    assert out.endswith("no later bundle of stack was sealed here: `airgap pack` makes one\n")
    begin, end = loaded.online.records()[-2:]
    assert (begin["change"], begin["bundle"]["serial"], begin["reason"]) == ("recall", 2, REASON)
    assert (end["result"], end["root_version"]) == ("ok", 3)
    assert f"recalled: stack-0002, epoch 1: {REASON}" in loaded.online("trust", "show").out


def test_twice_changes_nothing_and_asks_for_nothing(loaded: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    recall(loaded)
    before = files_of(loaded.online.home)
    monkeypatch.setenv("AIRGAP_PASSPHRASE", "wrong and too late")
    done = loaded.online("recall", loaded.stick / "stack-0002", "--reason", "another", "--json").json
    assert (done["fresh"], done["reason"], done["version"]) == (False, REASON, 3)
    assert "recalled already: stack-0002" in loaded.online("recall", "stack-0002", "--reason", "x").out
    assert files_of(loaded.online.home) == before


def test_a_later_bundle_replaces_it(loaded: Gap) -> None:
    pack(loaded, 3)
    done = loaded.online("recall", "stack-0001", "--reason", REASON, "--json").json
    assert done["replaced_by"] == "stack-0003"
    assert done["still_at"] == {}
    assert loaded.online("recall", "stack-0003", "--reason", REASON, "--json").json["replaced_by"] is None


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("stack-0009", "--reason", "x"), 2, "no such bundle was sealed here: stack-0009, got bundles of stack"),
        (("stack-0001", "--epoch", 2, "--reason", "x"), 2, "no such bundle was sealed here: stack-0001, epoch 2"),
        (("stick/stack-0001", "--epoch", 1, "--reason", "x"), 2, "--epoch is for the name of a bundle"),
        (("../x-0001", "--reason", "x"), 2, "no such file or folder: ../x-0001"),
        (("stack-0001", "--reason", " "), 2, "not a reason: --reason"),
        (("stack-0001", "--reason", "a\x1b[2J"), 2, "not a reason: --reason"),
        (("stack-0001", "--reason", "x" * 501), 2, "not a reason: --reason"),
        (("stack-0001",), 2, "missing option '--reason'"),
    ],
    ids=["unknown", "epoch", "epoch of a path", "nothing", "blank", "escape", "long", "no reason"],
)  # fmt: skip
def test_what_cannot_be_recalled(gap: Gap, monkeypatch, words, code, message) -> None:  # type: ignore[no-untyped-def]
    gap.pack()
    monkeypatch.chdir(gap.folder)
    assert message in gap.online("recall", *words, code=code).err
    assert version(gap.online) == 1


def test_a_bundle_of_strangers_cannot_be_recalled(gap: Gap, fresh: Side) -> None:
    fresh("init", "--owner", "eve", "--site", "hq")
    path = gap.layout(**images_of(1))
    fresh("pack", path, "--to", gap.folder / "eve")
    gap.online("recall", gap.folder / "eve/stack-0001", "--reason", "x", code=13)


def test_two_people_decide(gap: Gap, bob: Side) -> None:
    proposed(gap, bob)
    gap.pack()
    half = gap.folder / "half.json"
    done = gap.online("recall", "stack-0001", "--reason", REASON, "--proposal", half, "--json").json
    assert (done["installed"], done["who"]) == (False, ["bob"])
    shown = bob("trust", "sign", half, "--yes")
    assert f"stack-0001, epoch 1: {REASON}" in shown.err
    gap.online("trust", "install", half)
    assert "recalled already" in gap.online("recall", "stack-0001", "--reason", "x").out


def test_a_signer_is_told_where_the_words_are_wrong(gap: Gap, bob: Side) -> None:
    proposed(gap, bob)
    gap.pack()
    half = gap.folder / "half.json"
    gap.online("recall", "stack-0001", "--reason", REASON, "--proposal", half)
    site = Site(gap.online.home)
    old = site.root()
    new = Proposal.parse(half.read_bytes(), old, "half").new
    lie = replace(new, recalled=(replace(new.recalled[0], serial=7),))
    key = Site(bob.home).signing_key("bob", PASSPHRASE.encode)
    half.write_bytes(Proposal.make(old, lie, key).envelope.to_bytes())
    shown = gap.online("trust", "sign", half, "--yes")
    assert "alarm: the recall of stack-0007 of epoch 1 is about stack-0001 of epoch 1" in shown.err


def test_the_same_lock_is_packed_as_a_new_bundle(loaded: Gap) -> None:
    recall(loaded)
    again = loaded.online("pack", loaded.folder / "stack.yaml", "--to", loaded.stick, "--full", "--json").json
    assert (again["serial"], again["fresh"]) == (3, True)


def test_receipts_of_a_recalled_bundle_are_a_base_and_the_bundle_is_not(loaded: Gap) -> None:
    recall(loaded)
    path = loaded.layout(**images_of(3))
    for base in (2, "stack-0002", loaded.stick / "stack-0002"):
        refused = loaded.online("plan", path, "--since", base, code=13)
        assert "the base is recalled" in refused.err
        assert "--since sites" in refused.err
    (receipt,) = (loaded.stick / "receipts").glob("*0002*")
    done = loaded.online("pack", path, "--to", loaded.stick, "--since", receipt)
    assert "plant-7 has content of stack-0002, which is recalled" in done.err
    loaded.offline("load", loaded.stick / "stack-0003", "--to", first_target(loaded))


# -- the receiving side

REFUSED = {
    "verify": ("verify", "{bundle}"),
    "verify the medium": ("verify", "--media", "{bundle}"),
    "load": ("load", "{bundle}", "--to", "{target}"),
    "load elsewhere": ("load", "{bundle}", "--to", "oci:{folder}/other"),
    "back": ("load", "--back", "{bundle}", "--reason", "x", "--to", "{target}"),
    "receive": ("receive", "{bundle}", "--into", "{folder}/copy"),
    "repack": ("repack", "{bundle}", "--to", "{folder}/copy"),
    "repair": ("repair", "{bundle}", "--from", "{bundle}"),
    "serve": ("serve", "{bundle}", "--port", "0"),
    "send": ("send", "{bundle}", "root@127.0.0.1:9"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_site_that_knows_refuses_it_everywhere(known: Gap, name: str) -> None:
    bundle = known.stick / "stack-0002"
    places = {"bundle": bundle, "target": first_target(known), "folder": known.folder}
    words = [word.format(**places) for word in REFUSED[name]]
    before = files_of(known.folder / "first")
    done = known.offline(*words, code=13)
    assert f"the bundle is recalled and must not be used: stack-0002, got {REASON} (" in done.err
    assert "trust root 3\n" in done.err
    assert f"example.com/app:1 at {first_target(known)}" in done.err
    assert files_of(known.folder / "first") == before
    assert not (known.folder / "copy").exists()


def test_the_medium_says_which_bundle_is_not_meant(known: Gap) -> None:
    shown = known.offline("load", known.stick, "--to", first_target(known), code=2)
    assert "stack-0002 (recalled)" in shown.err


def test_it_is_still_shown(known: Gap) -> None:
    bundle = known.stick / "stack-0002"
    assert known.offline("inspect", bundle).out.startswith(f"RECALLED: it must not be used: {REASON}")
    assert known.offline("inspect", bundle, "--json").json["recalled"] == REASON
    assert known.offline("inspect", known.stick / "stack-0001", "--json").json["recalled"] is None
    known.offline("diff", known.stick / "stack-0001", bundle)


def test_the_root_alone_is_enough_and_says_what_is_loaded(loaded: Gap) -> None:
    done = loaded.offline("trust", "install", recall(loaded), "--json")
    [here] = done.json["recalled_loaded"]
    assert (here["bundle"], here["target"], here["reason"]) == ("stack-0002", first_target(loaded), REASON)
    assert here["references"] == [f"example.com/{name}:1" for name in ("app", "part1", "part2")]
    assert "warning: stack-0002 is recalled" in done.err
    report = loaded.offline("audit", "report")
    assert f"alarm: stack-0002 is recalled: {REASON}" in report.out
    assert "ok, recalled" in report.out


@pytest.mark.parametrize(
    "error", [OSError(5, "Input/output error"), MediaError("cannot read")], ids=["system", "medium"]
)
def test_a_disk_that_fails_after_the_work_is_a_warning(
    loaded: Gap, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """The ledger says that the work is done."""

    def fail(_: Site) -> NoReturn:
        raise error

    root = recall(loaded)
    monkeypatch.setattr("airgap.carry.recalled.recalled_here", fail)
    done = loaded.offline("trust", "install", root)
    assert done.err.startswith("warning: cannot show which recalled bundles are still loaded: ")
    assert version(loaded.offline) == version(loaded.online)


def test_a_disk_that_fails_before_a_recall_changes_nothing(
    loaded: Gap, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> NoReturn:
        raise MediaError("cannot read", subject=loaded.online.home)

    before = version(loaded.online)
    monkeypatch.setattr("airgap.review.recalls.find_impact", fail)
    loaded.online("recall", "stack-0002", "--reason", REASON, code=11)
    assert version(loaded.online) == before


def test_content_of_it_is_not_taken(loaded: Gap) -> None:
    loaded.offline("trust", "install", recall(loaded, 1))
    sticks = [loaded.stick / f"stack-{serial:04d}" for serial in (1, 2)]
    refused = loaded.offline("load", *sticks, "--to", f"oci:{loaded.folder / 'new'}", code=13)
    assert "must not be used: stack-0001" in refused.err
    loaded.offline("load", sticks[1], "--to", first_target(loaded))


def test_a_bundle_of_the_stream_brings_the_recall_and_replaces_it(loaded: Gap) -> None:
    recall(loaded)
    newer = pack(loaded, 3)
    shown = loaded.offline("verify", newer, "--json")
    assert [here["bundle"] for here in shown.json["recalled_loaded"]] == ["stack-0002"]
    done = loaded.offline("load", newer, "--to", first_target(loaded), "--json")
    assert done.json["recalled_loaded"] == []
    assert "recalled" not in done.err
    assert loaded.offline("audit", "report", "--json").json["alarms"] == []
    refused = loaded.offline("load", loaded.stick / "stack-0002", "--to", first_target(loaded), code=13)
    assert f"replaced since: example.com/app:1 at {first_target(loaded)} by stack-0003" in refused.err


def test_a_bundle_that_is_refused_brings_the_recall_too(loaded: Gap) -> None:
    recall(loaded)
    path = loaded.layout(**images_of(3))
    path.write_text(path.read_text().replace("images:", "destinations: [lab]\nimages:"))
    loaded.online("pack", path, "--to", loaded.stick)
    loaded.offline("verify", loaded.stick / "stack-0003", code=15)
    loaded.offline("verify", loaded.stick / "stack-0002", code=13)


def test_a_step_back_replaces_what_the_older_bundle_has(known: Gap) -> None:
    back = ("load", "--back", known.stick / "stack-0001", "--reason", "x", "--to", first_target(known))
    [here] = known.offline(*back, "--json").json["recalled_loaded"]
    assert here["references"] == ["example.com/part2:1"]


# -- reports


def sent(side: Side, serial: int) -> tuple[dict, dict]:  # type: ignore[type-arg]
    report = side("audit", "report", "--json").json
    return report, report["sent"][serial - 1]


def test_the_report_of_the_sending_side(loaded: Gap) -> None:
    recall(loaded)
    report, transfer = sent(loaded.online, 2)
    assert (transfer["state"], transfer["recalled"], transfer["missing"]) == ("recalled", REASON, [])
    assert transfer["still_at"] == {"plant-7": [first_target(loaded)]}
    assert report["counts"]["recalled"] == 1
    [alarm] = report["alarms"]
    assert alarm.endswith(f"plant-7 still has it at {first_target(loaded)}")
    page = loaded.folder / "page.html"
    out = loaded.online("audit", "report", "--html", page).out
    assert f"recalled: {REASON}" in out
    assert REASON in page.read_text()


@pytest.mark.parametrize("way", ["newer", "back"])
def test_the_alarm_ends_when_a_receipt_says_that_it_is_replaced(loaded: Gap, way: str) -> None:
    loaded.offline("trust", "install", recall(loaded))
    if way == "newer":
        loaded.offline("load", pack(loaded, 3), "--to", first_target(loaded))
    else:
        words = ("--back", loaded.stick / "stack-0001", "--reason", "x", "--to", first_target(loaded))
        loaded.offline("load", *words)
    loaded.online("receipt", "import", loaded.stick)
    report, transfer = sent(loaded.online, 2)
    assert (report["alarms"], transfer["state"], transfer["still_at"]) == ([], "recalled", {})


def test_a_newer_bundle_at_another_target_replaces_nothing(loaded: Gap) -> None:
    recall(loaded)
    newer = pack(loaded, 3)
    done = loaded.offline("load", newer, "--to", f"oci:{loaded.folder / 'second'}", "--json")
    assert [here["target"] for here in done.json["recalled_loaded"]] == [first_target(loaded)]
    loaded.online("receipt", "import", loaded.stick)
    assert sent(loaded.online, 2)[1]["still_at"] == {"plant-7": [first_target(loaded)]}


def test_a_receipt_that_was_changed_says_nothing(known: Gap) -> None:
    for path in (known.offline.home / "receipts").glob("*0002*"):
        value = json.loads(path.read_bytes())
        value["signatures"][0]["sig"] = "AAAA"
        path.write_text(json.dumps(value))
    refused = known.offline("load", known.stick / "stack-0002", "--to", first_target(known), code=13)
    assert "nothing of it is loaded here by this site's receipts" in refused.err
