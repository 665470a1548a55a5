"""A thief who can sign: what his bundles do to a stream, the first bundle that shows it, and the way back."""

import hashlib
import json
import shutil
from pathlib import Path

import pytest

from airgap.site import Mark, Site
from tests.cli.conftest import Gap, Side
from tests.support.images import simple_image

TOP = 2**53 - 1


def pack(gap: Gap, side: Side, label: str, to: Path, *words: object) -> Path:
    """The folder of the next bundle, of one image that no other bundle has."""
    path = gap.layout(api=simple_image(label))
    done = side("pack", path, "--to", to, "--json", *words).json
    return Path(done["bundle"])


def sha256(bundle: Path) -> str:
    return hashlib.sha256((bundle / "statement.json").read_bytes()).hexdigest()


@pytest.fixture
def thief(gap: Gap) -> Side:
    """Somebody with a copy of the sender's keys and memory, after stack-0001 was sealed."""
    pack(gap, gap.online, "one", gap.stick)
    shutil.copytree(gap.online.home, gap.folder / "thief")
    return Side(gap.folder / "thief", gap.online.capture)


def load(gap: Gap, bundle: Path, code: int = 0, *words: object) -> str:
    return gap.offline("load", bundle, "--to", f"oci:{gap.folder}/out", *words, code=code).err


def far(gap: Gap, thief: Side, serial: int) -> Path:
    """A bundle of the thief with this serial."""
    mark = Mark(1, serial - 1, "a" * 64)
    Site(thief.home).set_sent("stack", mark)
    return pack(gap, thief, "far", gap.folder / "false")


def test_the_honest_bundle_shows_the_false_one_before_it(gap: Gap, thief: Side) -> None:
    false = pack(gap, thief, "false", gap.folder / "false")
    second = pack(gap, gap.online, "two", gap.stick)
    third = pack(gap, gap.online, "three", gap.stick)
    load(gap, gap.stick / "stack-0001")
    load(gap, false)
    for command in (("verify", third), ("receive", third, "--into", gap.folder / "into")):
        said = gap.offline(*command, code=14).err
        assert "forked: the bundle does not follow the last accepted one: stack-0003" in said
        assert sha256(false) in said
        assert sha256(second) in said
    load(gap, third, 14)
    assert "two different bundles" in load(gap, second, 14)
    record = gap.offline.records()[-1]
    assert (record["result"], record["exit_code"]) == ("refused", 14)
    assert sha256(second) in record["error"]


def test_the_false_bundle_shows_itself_after_an_honest_one(gap: Gap, thief: Side) -> None:
    pack(gap, thief, "false", gap.folder / "false")
    false = pack(gap, thief, "false 2", gap.folder / "false")
    load(gap, pack(gap, gap.online, "two", gap.stick))
    assert "forked" in load(gap, false, 14)


def test_a_site_that_skipped_bundles_cannot_compare_and_loads(gap: Gap, thief: Side) -> None:
    first = gap.stick / "stack-0001"
    pack(gap, gap.online, "two", gap.stick)
    third = pack(gap, gap.online, "three", gap.stick)
    load(gap, first)
    said = load(gap, third)
    assert "stack-0002 never arrived here" in said
    assert "alarm" not in said
    load(gap, third)


def test_a_site_that_joins_later(gap: Gap, fresh: Side, thief: Side) -> None:
    for label in ("two", "three", "four"):
        last = pack(gap, gap.online, label, gap.stick)
    load(gap, last)
    delta = pack(gap, gap.online, "five", gap.stick, "--since", "4")
    load(gap, delta)


@pytest.mark.parametrize("serial", [1002, 10**6, TOP])
def test_a_serial_that_rises_too_far(gap: Gap, thief: Side, serial: int) -> None:
    load(gap, gap.stick / "stack-0001")
    false = far(gap, thief, serial)
    for command in ("verify", "load"):
        to = ("--to", f"oci:{gap.folder}/x") if command == "load" else ()
        said = gap.offline(command, false, *to, code=14).err
        assert f"the serial is too high: stack-{serial}, want at most 1001, after 1 in epoch 1" in said
    assert Site(gap.offline.home).received("stack").serial == 1
    load(gap, pack(gap, gap.online, "two", gap.stick))


def test_serials_that_rise_within_bounds(gap: Gap, thief: Side) -> None:
    load(gap, gap.stick / "stack-0001")
    load(gap, far(gap, thief, 1001))


@pytest.mark.parametrize(("serial", "code"), [(10**6, 0), (10**6 + 1, 14), (TOP, 14)])
def test_the_first_bundle_of_a_stream(gap: Gap, thief: Side, serial: int, code: int) -> None:
    load(gap, far(gap, thief, serial), code)


def test_the_way_back_from_a_serial_that_leaves_no_other(gap: Gap, thief: Side) -> None:
    """What a raised epoch is for (TUF 5.3.11): the thief's serial was accepted, on purpose even."""
    load(gap, gap.stick / "stack-0001")
    false = far(gap, thief, TOP)
    load(gap, false, 0, "--accept-jump")
    begin = next(r for r in reversed(gap.offline.records()) if r["event"] == "load" and r["phase"] == "begin")
    assert begin["accept_jump"] is True
    assert "older than the last accepted bundle" in load(gap, pack(gap, gap.online, "two", gap.stick), 14)
    done = gap.online("trust", "epoch", "--json").json
    assert done["installed"]
    assert "changed: epoch: 1 -> 2" in done["changes"]
    again = pack(gap, gap.online, "three", gap.folder / "epoch2")
    assert again.name == "stack-0001"
    load(gap, again)
    mark = Site(gap.offline.home).received("stack")
    assert (mark.epoch, mark.serial) == (2, 1)
    assert "made in another epoch" in load(gap, false, 14)
    load(gap, pack(gap, gap.online, "four", gap.folder / "epoch2"))


def test_a_new_epoch_leaves_a_fork_behind_and_tells_of_it(gap: Gap, thief: Side) -> None:
    false = pack(gap, thief, "false", gap.folder / "false")
    second = pack(gap, gap.online, "two", gap.stick)
    load(gap, false)
    gap.online("trust", "epoch")
    said = load(gap, pack(gap, gap.online, "four", gap.folder / "epoch2"))
    assert "alarm: stack-0002 of epoch 1, which was accepted here" in said
    assert sha256(false) in said
    assert sha256(second) in said
    assert "not the bundle that the sending side sealed" in gap.offline.records()[-1]["alarms"][0]


def test_what_was_sealed_in_two_epochs_is_kept_apart(gap: Gap, thief: Side) -> None:
    old = gap.stick / "stack-0001"
    gap.online("trust", "epoch")
    new = pack(gap, gap.online, "again", gap.folder / "epoch2")
    kept = Site(gap.online.home).kept_envelopes()
    payloads = [json.loads(path.read_bytes())["payload"] for path in kept]
    assert len(set(payloads)) == 2
    load(gap, new)
    load(gap, pack(gap, gap.online, "delta", gap.folder / "epoch2", "--since", "1"))
    assert "made in another epoch" in load(gap, old, 14)
    receipt = next((gap.offline.home / "receipts").glob("plant-7-stack-0001-*.receipt.json"))
    site = gap.offline.home / "site.pub"
    keyid = gap.offline("key", "list", "--json").json["site"]["keyid"]
    gap.online("trust", "add-site", "plant-7", "--key", site, "--keyid", keyid)
    assert "alarm" not in gap.online("receipt", "import", receipt).out


def test_an_epoch_shuts_out_keys_that_are_void_from_some_serial_on(gap: Gap, thief: Side) -> None:
    """Serials start again: the thief's key would be good for low ones."""
    bob = gap.online("key", "generate", "bob", "--json").json
    pub = gap.online.home / "keys" / "bob.pub"
    gap.online(
        "trust", "add", "bob", "--key", pub, "--role", "release", "--role", "root", "--keyid", bob["keyid"]
    )
    gap.online("trust", "revoke", "alice", "--after-serial", "1")
    done = gap.online("trust", "epoch", "--json").json
    assert any(line.startswith("gone: role release of key") for line in done["changes"])
    load(gap, pack(gap, gap.online, "again", gap.folder / "epoch2", "--key", "bob"))
    gap.online("pack", gap.folder / "stack.yaml", "--to", gap.folder / "x", "--key", "alice", code=13)
