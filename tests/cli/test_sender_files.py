"""The files of several senders, their backup, and what reports say of them."""

import csv
import shutil

import pytest

from airgap.trust import age
from tests.cli.conftest import Gap, Side
from tests.cli.sender_support import Load, Vendor, marks

# -- the files of the senders


def test_a_backup_has_the_senders(
    gap: Gap, acme: Vendor, load: Load, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(age, "WORK_FACTOR", 2)
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


@pytest.mark.parametrize("name", ["", "trust", "received", "sender.json"])
def test_a_link_in_the_place_of_a_sender_s_file_is_refused(
    gap: Gap, acme: Vendor, load: Load, name: str
) -> None:
    load(acme.pack("1"))
    path = gap.offline.home / "senders" / "acme" / name
    moved = gap.folder / "moved"
    path.rename(moved)
    path.symlink_to(moved)
    assert "got a link" in load(gap.pack(), code=13).err


@pytest.mark.parametrize("name", ["", "trust", "sender.json"])
def test_a_sender_s_file_that_others_can_write_is_refused(
    gap: Gap, acme: Vendor, load: Load, name: str
) -> None:
    (gap.offline.home / "senders" / "acme" / name).chmod(0o777)
    assert "writable by other users" in load(gap.pack(), code=13).err


def test_names_of_a_later_installation_replace_only_the_rule_for_all_targets(gap: Gap, acme: Vendor) -> None:
    gap.offline("trust", "allow", "acme", "--names", "*", "--target", "docker")
    path = gap.offline.home / "senders" / "acme" / "sender.json"
    path.write_bytes(path.read_bytes().replace(b'"docker"', b'"serve"'))
    gap.offline(*acme.install, "--names", "registry.acme/app:*")
    (listed,) = gap.offline("trust", "list", "--json").json["senders"][1:]
    assert {rule["target"]: rule["names"] for rule in listed["rules"]} == {
        "docker": ["*"], None: ["registry.acme/app:*"],
    }  # fmt: skip


# -- reports


def test_a_recall_of_another_sender_is_shown(gap: Gap, acme: Vendor, load: Load) -> None:
    load(acme.pack("1"))
    acme.side("recall", "stack-0001", "--reason", "a key leaked")
    gap.offline("trust", "install", acme.side.home / "trust" / "2.root.json", "--sender", "acme")
    found = gap.offline("audit", "find", "registry.acme/app", "--json").json["found"]
    assert [(item["bundle"], item["recalled"]) for item in found] == [("acme/stack-0001", True)]
    rows = csv.DictReader(gap.offline("audit", "export").out.splitlines())
    assert {row["recalled"] for row in rows if row["bundle"] == "acme/stack-0001"} == {"a key leaked"}


def test_reports_name_the_sender(gap: Gap, acme: Vendor, load: Load) -> None:
    load(gap.pack())
    first, second = acme.pack("1"), acme.pack("2")
    load(second)
    load(first, code=14)
    page = gap.folder / "page.html"
    made = gap.offline("audit", "report", "--html", page, "--json").json
    assert [item["bundle"] for item in made["loaded"]] == ["stack-0001", "acme/stack-0002"]
    assert "load acme refused" in made["alarms"][-1]
    assert "<h3>acme/stack-0002 " in page.read_text()
    assert "unknown key" not in page.read_text()
    found = gap.offline("audit", "find", "registry.acme/app", "--json").json["found"]
    assert {item["bundle"] for item in found} == {"acme/stack-0002"}
    for what, count in (("stack", 2), ("acme/stack", 1), ("acme/stack-0002", 1), ("stack-0001", 1)):
        words = ("audit", "log", "--stream", what, "--event", "load", "--json")
        assert len(gap.offline(*words).json["entries"]) == count
    compared = gap.offline("audit", "compare", "--to", f"oci:{gap.folder / 'target'}", "--all", "--json").json
    assert {item["bundle"] for item in compared["images"]} == {"stack-0001", "acme/stack-0002"}
