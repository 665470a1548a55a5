"""What the other commands do with a bundle of a sender that is not the first one."""

import io
import json
import shutil
from pathlib import Path

import pytest

from airgap import api
from airgap.endpoints.server import ImageServer
from airgap.site import Site
from tests.cli.conftest import Gap, Side
from tests.cli.sender_support import Load, Vendor, marks


def last_sender(gap: Gap) -> object:
    return gap.offline.records()[-1].get("sender")


@pytest.mark.parametrize(
    "command", ["verify", "verify --media", "receive", "repack", "repair", "inspect", "diff"]
)
def test_a_command_works_under_the_sender_of_the_bundle(gap: Gap, acme: Vendor, command: str) -> None:
    bundle = acme.pack("1")
    copy = shutil.copytree(bundle, gap.folder / "copy" / bundle.name)
    words = {
        "receive": ("--into", gap.folder / "into"),
        "repack": ("--to", gap.folder / "into"),
        "repair": ("--from", copy),
        "diff": (copy,),
    }
    gap.offline(*command.split()[:1], bundle, *command.split()[1:], *words.get(command, ()), "--json")
    if command not in ("inspect", "diff"):
        assert last_sender(gap) == "acme"
    assert marks(gap) == {}


def test_the_marks_of_the_sender_say_which_bundle_of_a_medium_is_meant(
    gap: Gap, acme: Vendor, load: Load
) -> None:
    first, second = acme.pack("1"), acme.pack("2")
    assert "there are several bundles" in load(first.parent, code=2).err
    load(second)
    assert f"taking {second}\n" in load(first.parent).err
    assert marks(gap) == {"acme": 2}


def test_a_lost_target_is_rebuilt_from_the_bundles_of_one_sender(gap: Gap, acme: Vendor, load: Load) -> None:
    load(gap.pack())
    first, second = acme.pack("1"), acme.pack("2")
    load(first)
    load(second)
    words = ("--to", f"oci:{gap.folder / 'new'}")
    done = gap.offline("load", gap.stick / "stack-0001", second, first, *words, "--json").json
    assert [item["sender_name"] for item in done["bundles"]] == ["default", "acme"]
    gap.offline("load", "--back", first, "--reason", "2 crashes", *words)
    assert last_sender(gap) == "acme"


def test_bundles_of_two_senders_are_served_together(
    gap: Gap, acme: Vendor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airgap.endpoints.server.ImageServer.serve_forever", ImageServer.close)
    done = gap.offline("serve", gap.pack(), acme.pack("1"), "--port", "0", "--json").json
    assert {"example.com/api", "registry.acme/app"} <= set(done["repositories"])
    assert marks(gap) == {"default": 1, "acme": 1}


def test_the_library_verifies_under_the_sender(gap: Gap, acme: Vendor) -> None:
    bundle = acme.pack("1")
    assert api.verify([bundle], home=gap.offline.home).owners == ("acme",)
    assert last_sender(gap) == "acme"


def test_a_vendor_cannot_seal_for_the_site(gap: Gap, acme: Vendor) -> None:
    """Packing, signing and changes of the trust root are about the site's own root."""
    volt = Vendor(gap, "volt")
    gap.online(*volt.install, *volt.names)
    bundle = gap.pack()
    assert gap.offline("verify", bundle, "--json").json["bundles"][0]["sender_name"] == "default"
    assert list((bundle / "trust").iterdir()) == [bundle / "trust" / "1.root.json"]
    gap.online("trust", "rotate", "--days", "200")
    assert list(Site(gap.online.home, "volt").roots()) == [1]
    assert gap.online("trust", "show", "--json").json["version"] == 2


def test_a_later_root_of_a_sender_is_installed_as_a_file(gap: Gap, acme: Vendor) -> None:
    acme.side("trust", "rotate", "--days", "200")
    root = acme.side.home / "trust" / "2.root.json"
    assert "--sender acme" in gap.offline("trust", "install", root, code=13).err
    gap.offline("trust", "install", root, "--sender", "acme")
    shown = gap.offline("trust", "show", "--sender", "acme", "--json").json
    assert shown["version"] == 2


def test_a_person_is_asked_for_the_names(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = io.StringIO("registry.acme/* docker.io/library/redis:*\n")
    terminal.isatty = lambda: True  # type: ignore[method-assign]
    monkeypatch.setattr("sys.stdin", terminal)
    gap.offline(*Vendor(gap, "acme").install)
    (listed,) = gap.offline("trust", "list", "--json").json["senders"][1:]
    assert listed["rules"] == [{"names": ["registry.acme/*", "docker.io/library/redis:*"], "target": None}]


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "--names is missing"),
        (("--names", "*", "--none"), "--names is missing"),
        (("--names", "nginx"), "not a pattern of image names"),
        (("--names", "*", "--target", "a\tb"), "not the name of a target"),
    ],
    ids=["nothing", "both", "no host", "no target"],
)
def test_a_rule_that_is_not_one_is_refused(gap: Gap, acme: Vendor, words: tuple[str, ...], text: str) -> None:
    before = (gap.offline.home / "senders/acme/sender.json").read_bytes()
    assert text in gap.offline("trust", "allow", "acme", *words, code=2).err
    assert (gap.offline.home / "senders/acme/sender.json").read_bytes() == before
    gap.offline("trust", "list")


# -- interruptions


def cut_ledger(side: Side, lines: int) -> None:
    """The last records were not written: the power was cut."""
    path = side.home / "ledger.jsonl"
    kept = path.read_bytes().splitlines(keepends=True)[:-lines]
    path.write_bytes(b"".join(kept))


@pytest.mark.parametrize("command", ["install", "allow"])
def test_a_change_that_was_interrupted_is_recorded_later(gap: Gap, load: Load, command: str) -> None:
    acme = Vendor(gap, "acme")
    gap.offline(*acme.install, *acme.names)
    if command == "allow":
        gap.offline("trust", "allow", "acme", "--names", "registry.acme/app:*")
    cut_ledger(gap.offline, 1)
    load(acme.pack("1"))
    assert gap.offline("audit", "verify", "--json", code=0).json["alarms"] == []
    settings = [record["settings"] for record in gap.offline.records() if "settings" in record]
    assert settings[-1] == json.loads((gap.offline.home / "senders/acme/sender.json").read_text())


def test_a_removal_that_was_interrupted_is_done_again(gap: Gap, acme: Vendor, load: Load) -> None:
    gap.offline("trust", "remove-sender", "acme")
    cut_ledger(gap.offline, 1)
    assert "`airgap trust remove-sender acme` removes it for good" in load(gap.pack(), code=13).err
    gap.offline("trust", "remove-sender", "acme")
    load(gap.stick / "stack-0001")


def test_a_lost_ledger_is_begun_again_with_the_senders(gap: Gap, acme: Vendor, load: Load) -> None:
    load(acme.pack("1"))
    for name in ("ledger.jsonl", "ledger.summary.json"):
        (gap.offline.home / name).unlink(missing_ok=True)
    load(acme.pack("2"), code=13)
    changes = gap.offline("audit", "settle", "files", "--yes", "--json").json["changes"]
    assert any("senders/acme/sender.json: recorded" in change for change in changes)
    assert any("senders/acme/received/stack.json" in change for change in changes)
    load(acme.pack("3"))
    assert Path(gap.offline.home / "senders/acme/received/stack.json").exists()
