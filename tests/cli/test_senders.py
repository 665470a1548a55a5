"""A plant that gets bundles of its headquarters and of two vendors, each with its own trust root."""

from pathlib import Path

import pytest

from airgap.site import Site
from tests.cli.conftest import Gap, Side
from tests.cli.sender_support import Load, Vendor, manifest, marks
from tests.support.registry import FakeRegistry


def test_three_senders_use_one_stream_and_the_same_serials(
    gap: Gap, acme: Vendor, volt: Vendor, load: Load
) -> None:
    own = gap.pack()
    first, other = acme.pack("acme 1"), volt.pack("volt 1")
    for bundle, sender in ((own, "default"), (first, "acme"), (other, "volt")):
        assert f"good: stack-0001 of {sender}, " in gap.offline("verify", bundle).out
        done = load(bundle, "--json").json
        assert done["sender_name"] == sender
    second = acme.pack("acme 2")
    load(second)
    assert marks(gap) == {"default": 1, "acme": 2, "volt": 1}
    refused = load(first, code=14)
    assert "older than the last accepted" in refused.err
    assert gap.offline.records()[-1]["sender"] == "acme"
    load(other)
    assert "verified as a bundle of volt\n" in gap.offline("inspect", other).out
    assert len(list((gap.offline.home / "receipts").glob("*.receipt.json"))) == 5


def test_bundles_of_several_senders_are_loaded_with_one_command(gap: Gap, acme: Vendor, load: Load) -> None:
    bundles = [gap.pack(), acme.pack("a"), acme.pack("b")]
    done = gap.offline("load", *bundles, "--to", f"oci:{gap.folder / 'target'}", "--json").json
    assert [item["sender_name"] for item in done["bundles"]] == ["default", "acme", "acme"]
    assert marks(gap) == {"default": 1, "acme": 2}


def test_a_bundle_of_nobody_is_refused_with_the_known_senders(gap: Gap, acme: Vendor, load: Load) -> None:
    stranger = Vendor(gap, "stranger").pack("x")
    done = load(stranger, code=13)
    assert "not signed by a key that has the role release" in done.err
    assert "hint: it is of no sender that this site knows: default, acme; " in done.err
    assert gap.offline("inspect", stranger, "--json", code=13).json["vouched"] is False


# -- installing and removing


@pytest.mark.parametrize(
    ("words", "code", "text"),
    [
        ((), 2, "--names is missing: acme, want the names that this sender may set"),
        (("--names", "app"), 2, "not a pattern of image names: 'app'"),
        (("--names", "Registry.Acme/*"), 2, "not a pattern of image names"),
        (("--names", "*", "--sender", "A"), 2, "not a sender's name"),
        (("--names", "*", "--sender", "../x"), 2, "not a sender's name"),
        (("--names", "*", "--fingerprint", "0" * 64), 13, "wrong fingerprint"),
    ],
    ids=["no names", "not a name", "upper case", "not a sender", "a path", "another fingerprint"],
)
def test_a_sender_that_is_not_described_is_not_added(
    gap: Gap, words: tuple[str, ...], code: int, text: str
) -> None:
    done = gap.offline(*Vendor(gap, "acme").install, *words, code=code)
    assert text in done.err
    assert not (gap.offline.home / "senders").exists()


def test_another_root_without_a_sender_is_refused_with_the_way_on(gap: Gap, acme: Vendor) -> None:
    volt = Vendor(gap, "volt")
    root = volt.side.home / "trust" / "1.root.json"
    done = gap.offline("trust", "install", root, "--fingerprint", volt.fingerprint, code=13)
    assert "another sender's trust root" in done.err
    assert "--sender NAME --names" in done.err
    root = acme.side.home / "trust" / "1.root.json"
    done = gap.offline("trust", "install", root, "--fingerprint", acme.fingerprint, code=13)
    assert "it belongs to the sender acme: run this again with --sender acme" in done.err


def test_a_sender_has_one_name_for_ever(gap: Gap, acme: Vendor, load: Load) -> None:
    volt = Vendor(gap, "volt")
    again = [str(word).replace("acme", "other") if word == "acme" else word for word in acme.install]
    assert "want --sender acme" in gap.offline(*again, *acme.names, code=13).err
    gap.offline("trust", "remove-sender", "acme")
    assert "want --sender acme" in gap.offline(*again, *acme.names, code=13).err
    stolen = [str(word).replace("volt", "acme") if word == "volt" else word for word in volt.install]
    gap.offline(*stolen, *volt.names, code=13)
    assert not (gap.offline.home / "senders" / "acme" / "sender.json").exists()


def test_a_removed_sender_is_refused_and_keeps_its_marks(gap: Gap, acme: Vendor, load: Load) -> None:
    first, second = acme.pack("1"), acme.pack("2")
    load(second)
    assert gap.offline("trust", "remove-sender", "acme").out == "removed: acme\n"
    assert not (gap.offline.home / "senders" / "acme").exists()
    load(second, code=13)
    gap.offline("trust", "remove-sender", "acme", code=2)
    gap.offline(*acme.install, *acme.names)
    assert marks(gap) == {"acme": 2}
    assert "older than the last accepted" in load(first, code=14).err
    load(second)
    assert gap.offline("audit", "verify").err == ""


def test_the_first_sender_stays(gap: Gap, acme: Vendor) -> None:
    assert "cannot be removed" in gap.offline("trust", "remove-sender", "default", code=2).err
    assert "no such sender" in gap.offline("trust", "remove-sender", "who", code=2).err


def test_the_first_sender_may_have_a_name(gap: Gap, fresh: Side) -> None:
    volt, acme = Vendor(gap, "volt"), Vendor(gap, "acme")
    done = fresh(*volt.install, "--site", "plant")
    assert "sender: volt; it may set: *\n" in done.out
    assert (fresh.home / "trust" / "1.root.json").exists()
    fresh(*acme.install, *acme.names)
    names = [item["sender_name"] for item in fresh("trust", "list", "--json").json["senders"]]
    assert names == ["volt", "acme"]
    assert fresh("trust", "show", "--sender", "acme", "--json").json["fingerprint"] == acme.fingerprint
    assert fresh("trust", "show", "--sender", "volt", "--json").json["fingerprint"] == volt.fingerprint


def test_the_list_of_senders_fits_a_terminal(gap: Gap, acme: Vendor, load: Load) -> None:
    load(acme.pack("1"))
    lines = gap.offline("trust", "list").out.splitlines()
    assert [line.split()[0] for line in lines] == ["SENDER", "default", "acme"]
    assert "stack-0001  registry.acme/*" in lines[2]


# -- keys and roots that do not belong together


def test_a_sender_with_a_key_of_another_one_is_refused(gap: Gap, acme: Vendor) -> None:
    """Its root would let the headquarters' own key release the vendor's bundles."""
    volt = Vendor(gap, "volt")
    key = gap.folder / "shared.pub"
    key.write_text(acme.side("key", "show", "acme").out)
    keyid = acme.side("key", "list", "--json").json["keys"][0]["keyid"]
    volt.side("trust", "add", "shared", "--key", key, "--keyid", keyid)
    root = volt.side.home / "trust" / "2.root.json"
    fingerprint = volt.side("trust", "show", "--json").json["fingerprint"]
    words = ("trust", "install", root, "--sender", "volt", "--fingerprint", fingerprint, "--names", "*")
    assert "a key in this trust root belongs to the sender acme" in gap.offline(*words, code=13).err
    assert [item["sender_name"] for item in gap.offline("trust", "list", "--json").json["senders"]] == [
        "default", "acme",
    ]  # fmt: skip


def test_a_root_that_takes_the_key_of_another_sender_comes_with_no_bundle(
    gap: Gap, acme: Vendor, volt: Vendor, load: Load
) -> None:
    good = acme.pack("good")
    key = gap.folder / "shared.pub"
    key.write_text(acme.side("key", "show", "acme").out)
    keyid = acme.side("key", "list", "--json").json["keys"][0]["keyid"]
    volt.side("trust", "add", "shared", "--key", key, "--keyid", keyid)
    assert "belongs to the sender acme" in load(volt.pack("bad"), code=13).err
    load(good)
    assert marks(gap) == {"acme": 1}


def test_roots_of_another_sender_on_a_medium_are_no_alarm_and_are_not_kept(
    gap: Gap, acme: Vendor, volt: Vendor, load: Load
) -> None:
    """The bundle is damaged by it, but neither sender's state is."""
    acme.side("trust", "rotate", "--days", "300")
    volt.side("trust", "rotate", "--days", "300")
    bundle = acme.pack("1")
    for path in (bundle / "trust").iterdir():
        path.write_bytes((volt.side.home / "trust" / path.name).read_bytes())
    load(bundle, code=13)
    for sender in ("acme", "volt"):
        assert list(Site(gap.offline.home, sender).roots()) == [1]
    load(volt.pack("1"))
    assert list(Site(gap.offline.home, "volt").roots()) == [1, 2]
    assert list(Site(gap.offline.home, "acme").roots()) == [1]


def test_a_rotated_key_is_still_known_by_the_roots_on_the_medium(gap: Gap, acme: Vendor, load: Load) -> None:
    key = acme.side("key", "generate", "new", "--json").json
    path = gap.folder / "new.pub"
    path.write_text(acme.side("key", "show", "new").out)
    acme.side("trust", "add", "new", "--key", path, "--keyid", key["keyid"])
    done = acme.side(
        "pack", manifest(acme.side, f"{acme.host}/app", "n"), "--to", acme.stick, "--key", "new", "--json"
    ).json
    assert "sender: acme\n" in load(Path(done["bundle"])).out
    assert list(Site(gap.offline.home, "acme").roots()) == [1, 2]


# -- names


def test_a_name_that_is_not_allowed_stops_the_load_before_names_move(
    gap: Gap, acme: Vendor, load: Load
) -> None:
    acme.host = "example.com"
    bundle = acme.pack("false")
    done = load(bundle, code=16)
    assert "the sender acme may not set this name: " in done.err
    assert "example.com/app:1, want registry.acme/*\n" in done.err
    assert "`airgap trust allow acme --names example.com/app:1`" in done.err
    assert not (gap.folder / "target").exists()
    assert marks(gap) == {}
    last = gap.offline.records()[-1]
    assert (last["event"], last["result"], last["sender"]) == ("load", "refused", "acme")
    load(bundle, "--map", "example.com=registry.acme/mirror")
    words = ("--names", "registry.acme/*", "--names", "example.com/app:*")
    done = gap.offline("trust", "allow", "acme", *words)
    assert done.out == "acme may set: registry.acme/*, example.com/app:*\n"
    load(bundle)


def test_verify_and_inspect_name_what_the_load_would_refuse(gap: Gap, acme: Vendor, load: Load) -> None:
    allowed = acme.pack("allowed")
    assert gap.offline("verify", allowed, "--json").json["bundles"][0]["refused_names"] == []
    assert gap.offline("inspect", allowed, "--json").json["refusal"] is None
    acme.host = "example.com"
    bundle = acme.pack("false")
    done = gap.offline("verify", bundle)
    assert "  example.com/app:1: `airgap load` would refuse this name without --map" in done.out
    assert "no rule allows acme to set it" in done.out
    shown = gap.offline("verify", bundle, "--json").json["bundles"][0]
    assert shown["refused_names"] == ["example.com/app:1"]
    refusal = gap.offline("inspect", bundle, "--json").json["refusal"]
    assert refusal == "without --map, no rule allows acme to set example.com/app:1"
    gap.offline(
        "trust", "allow", "acme", "--names", "example.com/*", "--target", "docker"
    )  # one target is enough
    assert gap.offline("verify", bundle, "--json").json["bundles"][0]["refused_names"] == []


def test_a_final_name_counts_and_not_the_signed_one(gap: Gap, acme: Vendor, load: Load) -> None:
    done = load(acme.pack("1"), "--map", "registry.acme=example.com", code=16)
    assert "may not set this name" in done.err


def test_rules_for_one_target(gap: Gap, acme: Vendor, load: Load) -> None:
    target = f"oci:{gap.folder / 'target'}"
    bundle = acme.pack("1")
    gap.offline("trust", "allow", "acme", "--none")
    load(bundle, code=16)
    gap.offline("trust", "allow", "acme", "--names", "*", "--target", "docker")
    load(bundle, code=16)
    gap.offline("trust", "allow", "acme", "--names", "*", "--target", target)
    load(bundle)
    done = gap.offline("serve", bundle, "--port", "0", code=16)
    assert "may not set this name: serve: registry.acme/app:1" in done.err
    assert gap.offline.records()[-1]["result"] == "refused"


def test_the_first_sender_can_be_restricted(gap: Gap, load: Load) -> None:
    bundle = gap.pack()
    gap.offline("trust", "allow", "default", "--names", "registry.plant/*")
    assert "the sender default may not set this name" in load(bundle, code=16).err
    gap.offline("trust", "allow", "default", "--names", "example.com/*")
    load(bundle)


def test_a_name_of_another_sender_is_taken_only_if_a_rule_names_it(
    gap: Gap, acme: Vendor, load: Load
) -> None:
    load(gap.pack())
    acme.host = "example.com"
    gap.offline("trust", "allow", "acme", "--names", "*")
    load(acme.pack("other"))  # example.com/app, which the headquarters did not set
    bundle = acme.pack("api", name="api")
    done = load(bundle, code=16)
    assert "the name belongs to another sender: default set it last: " in done.err
    assert "'*' is not enough" in done.err
    gap.offline("trust", "allow", "acme", "--names", "*", "--names", "example.com/api:1")
    load(bundle)
    assert "acme set it last" in load(gap.stick / "stack-0001", code=16).err
    gap.offline("trust", "allow", "default", "--names", "*", "--names", "example.com/*")
    load(gap.stick / "stack-0001")


def test_a_registry_keeps_no_host_so_that_another_host_is_no_way_round(gap: Gap, acme: Vendor) -> None:
    with FakeRegistry() as registry:
        words = ("--to", f"registry:{registry.host}")
        gap.offline("load", gap.pack(), *words)
        gap.offline("load", acme.pack("x", name="other"), *words)
        done = gap.offline("load", acme.pack("y", name="api"), *words, code=16)
    assert "the name belongs to another sender: default set it last" in done.err
    assert "want a rule of acme that names example.com/api:1" in done.err
