"""A plant that gets bundles of its headquarters and of two vendors, each with its own trust root."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from airgap.site import Site
from tests.cli.conftest import Done, Gap, Side
from tests.support.images import simple_image, write_layout


def manifest(side: Side, host: str, text: str) -> Path:
    """A manifest of one image at `host`, in the stream `stack` that all senders use."""
    folder = side.home.parent / f"{side.home.name}-source"
    folder.mkdir(exist_ok=True)
    write_layout(folder / "images", {f"{host}/app:1": simple_image(text)})
    path = folder / "stack.yaml"
    path.write_text(f"version: 1\nname: stack\nimages:\n  - {{oci: images, ref: '{host}/app:1'}}\n")
    return path


class Vendor:
    """A sending side that the plant need not know."""

    def __init__(self, gap: Gap, name: str) -> None:
        self.name, self.host = name, f"registry.{name}"
        self.side = Side(gap.folder / f"{name}-home", gap.online.capture)
        self.side("init", "--site", name, "--owner", name)
        self.stick = gap.folder / f"{name}-stick"
        self.fingerprint = self.side("trust", "show", "--json").json["fingerprint"]

    def pack(self, text: str) -> Path:
        done = self.side("pack", manifest(self.side, self.host, text), "--to", self.stick, "--json").json
        return Path(done["bundle"])

    @property
    def install(self) -> tuple[object, ...]:
        """The words that add this sender."""
        root = self.side.home / "trust" / "1.root.json"
        return ("trust", "install", root, "--sender", self.name, "--fingerprint", self.fingerprint)

    @property
    def names(self) -> tuple[str, str]:
        return ("--names", f"{self.host}/*")


@pytest.fixture
def acme(gap: Gap) -> Vendor:
    vendor = Vendor(gap, "acme")
    gap.offline(*vendor.install, *vendor.names)
    return vendor


@pytest.fixture
def volt(gap: Gap) -> Vendor:
    vendor = Vendor(gap, "volt")
    gap.offline(*vendor.install, *vendor.names)
    return vendor


Load = Callable[..., Done]


@pytest.fixture
def load(gap: Gap) -> Load:
    def run(bundle: Path, *words: object, code: int = 0) -> Done:
        return gap.offline("load", bundle, "--to", f"oci:{gap.folder / 'target'}", *words, code=code)

    return run


def marks(gap: Gap) -> dict[str, int]:
    senders = gap.offline("trust", "list", "--json").json["senders"]
    return {item["sender_name"]: mark["serial"] for item in senders for mark in item["streams"]}


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
    assert "hint: it is of no sender that this site knows: default, acme\n" in done.err
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
    assert "it is of the sender acme: run this again with --sender acme" in done.err


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
        "pack", manifest(acme.side, acme.host, "n"), "--to", acme.stick, "--key", "new", "--json"
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


# -- the files of the senders


def test_a_backup_has_the_senders(gap: Gap, acme: Vendor, load: Load) -> None:
    first, second = acme.pack("1"), acme.pack("2")
    load(second)
    gap.offline("backup", gap.folder / "b.age")
    restored = Side(gap.folder / "again", gap.online.capture)
    restored("restore", gap.folder / "b.age")
    restored("load", first, "--to", f"oci:{gap.folder / 'target'}", code=14)
    restored("load", second, "--to", f"oci:{gap.folder / 'target'}")


@pytest.mark.parametrize(
    ("name", "harm", "text"),
    [
        ("trust/1.root.json", None, "the trust root is not the one that was installed"),
        ("trust/1.root.json", b"{}", "the trust root is not the one that was installed"),
        ("sender.json", None, "the rules about a sender are not those in the ledger"),
        ("sender.json", b'{"version":1,"name":"acme","rules":null}\n', "not those in the ledger"),
        ("sender.json", b"{", "not those in the ledger"),
        ("received/stack.json", b"{", "it was restored from the ledger"),
        ("received/stack.json", None, "senders/acme/received/stack.json is missing; it was restored"),
    ],
    ids=["no root", "another root", "no rules", "wider rules", "no JSON", "no mark", "lost mark"],
)
def test_a_changed_file_of_a_sender_is_found(
    gap: Gap, acme: Vendor, load: Load, name: str, harm: bytes | None, text: str
) -> None:
    bundle = acme.pack("1")
    load(bundle)
    path = gap.offline.home / "senders" / "acme" / name
    path.unlink() if harm is None else path.write_bytes(harm)
    done = load(bundle, code=13 if "restored" not in text else 0)
    assert text in done.err


def test_a_lost_sender_is_brought_back_or_removed(gap: Gap, acme: Vendor, load: Load) -> None:
    load(acme.pack("1"))
    shutil.rmtree(gap.offline.home / "senders")
    assert "--sender acme" in load(gap.pack(), code=13).err
    gap.offline(*acme.install, *acme.names)
    assert marks(gap) == {"acme": 1}
    shutil.rmtree(gap.offline.home / "senders")
    gap.offline("trust", "remove-sender", "acme")
    load(gap.stick / "stack-0001")


def test_a_changed_rule_is_written_again(gap: Gap, acme: Vendor, load: Load) -> None:
    path = gap.offline.home / "senders" / "acme" / "sender.json"
    path.write_bytes(path.read_bytes().replace(b"registry.acme/*", b"*"))
    assert "`airgap trust allow acme --names PATTERN` writes it again" in load(gap.pack(), code=13).err
    gap.offline("trust", "allow", "acme", *acme.names)
    load(gap.stick / "stack-0001")


def test_a_folder_that_was_put_there_is_no_sender(gap: Gap, acme: Vendor, load: Load) -> None:
    volt = Vendor(gap, "volt")
    folder = gap.offline.home / "senders" / "volt"
    (folder / "trust").mkdir(parents=True)
    (folder / "sender.json").write_bytes(b'{"version":1,"name":"volt","rules":[]}\n')
    (folder / "trust" / "1.root.json").write_bytes((volt.side.home / "trust" / "1.root.json").read_bytes())
    load(volt.pack("1"), code=13)
