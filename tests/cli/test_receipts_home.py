"""Receipts come home: on the medium that the bundle came on, and into the sending site by files and folders."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from airgap.audit.receipt import Receipt
from airgap.bundle.locks import alone_in
from airgap.carry import receipt_copies
from airgap.review import receipt_files
from airgap.site import Site
from airgap.trust.envelope import STATEMENT_TYPE, Envelope
from tests.cli.conftest import Gap, files_of
from tests.cli.test_audit import introduce
from tests.support.images import simple_image

NAME = "plant-7-stack-0001-{}.receipt.json"


def load(gap: Gap, bundle: Path, *words: object, code: int = 0) -> dict:
    return gap.offline("load", bundle, "--to", f"oci:{gap.folder}/out", *words, "--json", code=code).json


# -- on the medium


def test_the_receipt_goes_home_with_the_medium(gap: Gap) -> None:
    bundle = gap.pack()
    before = files_of(bundle)
    done = load(gap, bundle)
    kept = Path(done["receipt"])
    [copy] = done["receipt_copies"]
    assert copy == {"path": str(gap.stick / "receipts" / kept.name), "error": None}
    assert kept.name.startswith("plant-7-stack-0001-")
    assert files_of(gap.stick / "receipts") == {kept.name: kept.read_bytes()}
    assert files_of(bundle) == before, "nothing is written into the bundle"
    assert gap.offline.records()[-1]["receipt_copies"] == [copy["path"]]
    shown = gap.offline("load", bundle, "--to", f"oci:{gap.folder}/out").out
    assert f"receipt copied to: {gap.stick}/receipts/plant-7-stack-0001-" in shown
    assert len(list((gap.stick / "receipts").iterdir())) == 2
    gap.offline("verify", bundle)
    gap.offline("verify", "--media", bundle)


def test_a_tar_has_its_receipts_beside_it_too(gap: Gap) -> None:
    gap.online("pack", gap.layout(api=simple_image("api")), "--to", gap.stick, "--tar")
    assert load(gap, gap.stick / "stack-0001.tar")["receipt_copies"][0]["error"] is None
    assert len(list((gap.stick / "receipts").iterdir())) == 1


def test_each_medium_of_a_bundle_in_volumes_gets_a_copy(tmp_path: Path) -> None:
    """One that was taken out meanwhile gets none, and two volumes on one medium share one."""
    volumes = tuple(tmp_path / place for place in ("a/x.v1", "a/x.v2", "b/x.v3", "gone/x.v4"))
    for volume in volumes[:3]:
        volume.mkdir(parents=True)
    name = NAME.format(7)
    copies = receipt_copies.copy_beside(volumes, name, b"receipt")
    assert [(copy.path, copy.error) for copy in copies] == [
        (tmp_path / place / "receipts" / name, None) for place in "ab"
    ]
    assert receipt_copies.copy_beside(volumes[3:], name, b"receipt") == ()


def test_the_copy_goes_elsewhere_or_nowhere(gap: Gap) -> None:
    bundle = gap.pack()
    assert load(gap, bundle, "--no-receipt-copy")["receipt_copies"] == []
    (home := gap.folder / "back").mkdir()
    [copy] = load(gap, bundle, "--receipt-to", home)["receipt_copies"]
    assert Path(copy["path"]).parent == home
    assert not (gap.stick / "receipts").exists()


@pytest.mark.parametrize(
    ("words", "want"),
    [
        (["--receipt-to", "none"], "not a folder: none"),
        (["--receipt-to", "file"], "not a folder: file"),
        (["--receipt-to", ".", "--no-receipt-copy"], "--receipt-to excludes --no-receipt-copy"),
    ],
)
def test_a_place_that_cannot_be_meant_is_refused_before_anything_is_loaded(
    gap: Gap, words: list[str], want: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = gap.pack()
    monkeypatch.chdir(gap.folder)
    Path("file").write_text("")
    assert load(gap, bundle, *words, code=2)["error"]["message"].startswith(want)
    assert not (gap.folder / "out").exists()


def link(folder: Path) -> None:
    (folder.parent / "elsewhere").mkdir()
    (folder / "receipts").symlink_to(folder.parent / "elsewhere")


def taken_parts(folder: Path) -> None:
    """A folder has the name of every part that could be written."""
    for seq in range(200):
        (folder / "receipts" / (NAME.format(seq) + ".part")).mkdir(parents=True)


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a link": (link, "not a folder"),
    "a link to nothing": (lambda folder: (folder / "receipts").symlink_to("none"), "not a folder"),
    "a file": (lambda folder: (folder / "receipts").write_bytes(b"x"), "not a folder"),
    "a pipe": (lambda folder: os.mkfifo(folder / "receipts"), "not a folder"),
    "folders as parts": (taken_parts, "cannot write"),
}


@pytest.mark.parametrize(("spoil", "want"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_folder_is_not_written_and_the_load_succeeds(
    gap: Gap, spoil: Callable[[Path], object], want: str
) -> None:
    bundle = gap.pack()
    spoil(gap.stick)
    [copy] = load(gap, bundle)["receipt_copies"]
    assert copy["error"].startswith(want)
    assert not files_of(gap.folder / "elsewhere")
    assert gap.offline.records()[-1]["receipt_copies"] == []
    assert "receipt not copied: " in gap.offline("load", bundle, "--to", f"oci:{gap.folder}/out").out


def test_another_file_of_that_name_is_kept(gap: Gap) -> None:
    """A site that lost its ledger counts again; a link or a lie on the medium may have any name."""
    bundle = gap.pack()
    name = Path(load(gap, bundle)["receipt"]).name
    first = int(name.removesuffix(".receipt.json").rpartition("-")[2])
    folder = gap.stick / "receipts"
    (folder / NAME.format(first + 2)).write_bytes(b"an older one")
    (folder / NAME.format(first + 4)).symlink_to(bundle / "index.json")
    index = (bundle / "index.json").read_bytes()
    for seq in (first + 2, first + 4):
        done = load(gap, bundle)
        [copy] = done["receipt_copies"]
        assert Path(done["receipt"]).name == NAME.format(seq)
        assert copy["path"].startswith(str(folder / f"plant-7-stack-0001-{seq}-"))
        assert Path(copy["path"]).read_bytes() == Path(done["receipt"]).read_bytes()
    assert (folder / NAME.format(first + 2)).read_bytes() == b"an older one"
    assert (bundle / "index.json").read_bytes() == index


def test_unfinished_files_of_killed_loads_are_removed(gap: Gap) -> None:
    bundle = gap.pack()
    (folder := gap.stick / "receipts").mkdir()
    for name in (NAME.format(1) + ".part", "lab-x-0001-3.receipt.json.part", "notes.part"):
        (folder / name).write_bytes(b"half")
    [copy] = load(gap, bundle)["receipt_copies"]
    assert sorted(files_of(folder)) == sorted(["notes.part", Path(copy["path"]).name])


def test_a_folder_that_another_process_writes_takes_receipts_too(gap: Gap) -> None:
    bundle = gap.pack()
    (folder := gap.stick / "receipts").mkdir()
    (folder / f"{NAME.format(1)}.part").write_bytes(b"half")
    with alone_in(folder):
        [copy] = load(gap, bundle)["receipt_copies"]
    assert sorted(files_of(folder)) == sorted([f"{NAME.format(1)}.part", Path(copy["path"]).name])


def test_a_copy_of_a_failed_load_goes_home_too(gap: Gap) -> None:
    bundle = gap.pack()
    layer = bundle / simple_image("api").layers[0].path
    layer.write_bytes(bytes(layer.stat().st_size))
    done = load(gap, bundle, code=3)
    assert (
        json.loads(Envelope.parse(Path(done["receipt_copies"][0]["path"]).read_bytes(), "x").payload)[
            "predicate"
        ]["result"]
        == "partial"
    )


class FailingOs:
    """The `os` of the module that copies, in which one function fails."""

    def __init__(self, failing: str, number: int) -> None:
        self.failing = failing
        self.number = number

    def __getattr__(self, name: str) -> object:
        return self._fail if name == self.failing else getattr(os, name)

    def _fail(self, *_: object, **__: object) -> None:
        raise OSError(self.number, os.strerror(self.number))


@pytest.mark.parametrize("failing", ["mkdir", "open", "write", "fsync", "replace", "stat"])
@pytest.mark.parametrize("number", [errno.EROFS, errno.ENOSPC, errno.EACCES, errno.EIO])
def test_a_medium_that_takes_no_more(
    gap: Gap, monkeypatch: pytest.MonkeyPatch, failing: str, number: int
) -> None:
    bundle = gap.pack()
    fake = FailingOs(failing, number)
    monkeypatch.setattr(receipt_copies, "os", fake)
    if failing == "write":
        monkeypatch.setattr(receipt_copies, "write_all", fake._fail)
    [copy] = load(gap, bundle)["receipt_copies"]
    assert copy["error"].startswith(f"cannot write: {gap.stick}/receipts")
    assert os.strerror(number) in copy["error"]
    assert not files_of(gap.stick / "receipts")


def test_a_bundle_that_fills_its_medium(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is beside a mount point is on another disk."""
    bundle = gap.pack()
    real = Path.stat

    def stat_of(path: Path, *, follow_symlinks: bool = True) -> os.stat_result:
        found = real(path, follow_symlinks=follow_symlinks)
        if path != bundle:
            return found
        return os.stat_result((*found[:2], found.st_dev + 1, *found[3:]))

    monkeypatch.setattr(Path, "stat", stat_of)
    [copy] = load(gap, bundle)["receipt_copies"]
    assert copy["error"].startswith(f"the bundle fills its whole medium: {bundle}")
    assert not (gap.stick / "receipts").exists()


# -- into the sending site


def come_home(gap: Gap, *words: object) -> Path:
    """A medium with the receipt of its bundle."""
    introduce(gap)
    load(gap, gap.pack(*words))
    return gap.stick


def test_a_medium_is_imported_as_a_folder(gap: Gap) -> None:
    stick = come_home(gap)
    done = gap.online("receipt", "import", stick, "--json").json
    [value] = done["receipts"]
    assert (value["import"], value["fresh"], value["site"]) == ("imported", True, "plant-7")
    assert Path(value["receipt"]).parent == stick / "receipts"
    records = gap.online.records()
    again = gap.online("receipt", "import", stick, stick / "receipts", value["receipt"])
    assert again.out == f"known: stack-0001 at plant-7, oci:{gap.folder}/out: ok\n", "one line, however named"
    assert gap.online.records() == records, "what is known is not recorded again"


def test_files_and_folders_of_several_loads(gap: Gap) -> None:
    stick = come_home(gap)
    load(gap, stick / "stack-0001")
    (home := gap.folder / "mail").mkdir()
    old = home / "stack-0001-99.receipt.json"
    old.write_bytes(next((gap.offline.home / "receipts").iterdir()).read_bytes())
    lines = gap.online("receipt", "import", old, stick).out.splitlines()
    assert [line.split(":")[0] for line in lines] == ["imported", "imported", "known"]


def test_garbage_among_receipts(gap: Gap) -> None:
    """Each file has a line, and the good ones are imported."""
    folder = come_home(gap) / "receipts"
    (folder / "x.receipt.json").write_bytes(b"{}")
    (folder / "y.receipt.json").write_bytes(b"")
    (folder / "z.receipt.json").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe.receipt.json")
    (folder / "dir.receipt.json").mkdir()
    (folder / "notes.txt").write_text("hello")
    done = gap.online("receipt", "import", gap.stick, code=3)
    assert [line.split(":")[0] for line in done.out.splitlines()] == ["imported", "refused", "refused"]
    assert "some receipts were refused, got 2 of 3" in done.err
    (folder / "x.receipt.json").rename(gap.folder / "x.receipt.json")
    shutil.copy(folder / "y.receipt.json", gap.folder)
    lost = gap.online("receipt", "import", gap.folder, code=3)
    assert "all 2 receipts were refused" in lost.err


def test_the_worst_result_decides(gap: Gap) -> None:
    folder = come_home(gap) / "receipts"
    (folder / "x.receipt.json").write_bytes(b"{}")
    [path] = folder.glob("plant-7-*")
    (folder / "lie.receipt.json").write_bytes(changed(gap, path, result="failed"))
    done = gap.online("receipt", "import", gap.stick, code=13)
    assert "alarm: its result is failed, but its images make it ok" in done.out
    assert len(done.out.splitlines()) == 4


def changed(gap: Gap, path: Path, **changes: object) -> bytes:
    receipt = Receipt.parse(Envelope.parse(path.read_bytes(), "x").payload)
    payload = replace(receipt, **changes).to_bytes()
    return Envelope.sign(STATEMENT_TYPE, payload, [Site(gap.offline.home).key]).to_bytes()


def test_a_receipt_of_another_sender_is_not_an_alarm(gap: Gap) -> None:
    """A plant that gets bundles of a vendor too, with keys that this sender does not know."""
    folder = come_home(gap) / "receipts"
    [path] = folder.glob("plant-7-*")
    path.write_bytes(changed(gap, path, bundle_stream="vendor", keyids=("5" * 64,)))
    done = gap.online("receipt", "import", gap.stick)
    assert done.out.startswith("of another sender: vendor-0001 at plant-7, ")
    assert not list((gap.online.home / "receipts").rglob("*.json"))
    assert gap.online.ended() == ("receipt", "ok", 0)


@pytest.mark.parametrize("changes", [{"keyids": ("5" * 64,)}, {"bundle_stream": "vendor"}])
def test_a_bundle_of_our_keys_or_stream_that_was_not_sealed_here_is_an_alarm(
    gap: Gap, changes: dict[str, object]
) -> None:
    folder = come_home(gap) / "receipts"
    [path] = folder.glob("plant-7-*")
    path.write_bytes(changed(gap, path, statement_sha256="7" * 64, **changes))
    assert "alarm: no bundle " in gap.online("receipt", "import", gap.stick, code=13).out


@pytest.mark.parametrize("make", [lambda folder: None, lambda folder: (folder / "receipts").mkdir()])
def test_a_folder_without_receipts(gap: Gap, make: Callable[[Path], object]) -> None:
    (folder := gap.folder / "empty").mkdir()
    make(folder)
    assert "no receipts in this folder" in gap.online("receipt", "import", folder, code=2).err


def test_a_link_to_a_folder_on_the_medium_is_not_followed(gap: Gap) -> None:
    come_home(gap)
    (folder := gap.folder / "other").mkdir()
    (folder / "receipts").symlink_to(gap.stick / "receipts")
    gap.online("receipt", "import", folder, code=2)


def test_ten_thousand_files(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files of other names are passed over; too many receipts are refused before one is imported."""
    folder = come_home(gap) / "receipts"
    for number in range(10_000):
        (folder / f"{number}.txt").touch()
    assert gap.online("receipt", "import", gap.stick).out.count("\n") == 1
    monkeypatch.setattr(receipt_files, "MAX_RECEIPT_FOLDER_NAMES", 10_000)
    assert "too many files in this folder" in gap.online("receipt", "import", gap.stick, code=2).err
    monkeypatch.setattr(receipt_files, "MAX_IMPORTED_RECEIPTS", 0)
    [path] = folder.glob("plant-7-*")
    assert "too many receipts for one command" in gap.online("receipt", "import", path, code=2).err
