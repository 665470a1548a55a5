"""What shows only while content is read, receivers that are not ready, and what verifying touches."""

import errno
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airgap.bundle.contents import ENVELOPE_FILE, STATEMENT_FILE
from airgap.bundle.files import Folder
from airgap.carry.verify import verify, verify_content
from airgap.cli.main import main
from airgap.errors import AirgapError
from airgap.progress import Silent
from tests.cli.refusals import at_home, check_refused, check_words, records, snapshot
from tests.support.bundles import (
    MULTI,
    ONE,
    TWO,
    Gap,
    make_gap,
    sign_root,
)
from tests.support.harms import CONFIG, IMAGES, LAYER, OTHER_LAYER, STRANGER, Case, Harm, flip, restate, swap
from tests.support.images import simple_image


@pytest.fixture
def gap(sealed: Gap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gap:
    return at_home(sealed, tmp_path, monkeypatch)


# -- content: found where it is consumed -------------------------------------------------------------

BASE = IMAGES[ONE].layers[0]


def named_in(target: Path) -> set[str]:
    """The names that an OCI folder gives to images."""
    index = json.loads((target / "index.json").read_bytes())
    return {entry["annotations"]["io.containerd.image.name"] for entry in index["manifests"]}


@dataclass(frozen=True)
class Content:
    """What becomes of a bundle with this harm."""

    harm: Harm
    verified: str
    """What `verify` says, with exit code 12."""
    loaded: set[str]
    """The images that `load` brings all the same."""
    code: int
    error: str


CONTENT = {
    "one layer": Content(flip(LAYER.path), "wrong digest: ", {TWO, MULTI}, 3, "got 1 of 3"),
    "first byte": Content(flip(LAYER.path, 0), "wrong digest: ", {TWO, MULTI}, 3, "got 1 of 3"),
    "layers swapped": Content(
        swap(LAYER.path, OTHER_LAYER.path), "the bundle is damaged: ", {MULTI}, 3, "got 2 of 3"
    ),
    "shared layer": Content(flip(BASE.path), "wrong digest: ", set(), 12, "wrong digest: "),
}


@pytest.mark.parametrize("case", CONTENT.values(), ids=CONTENT)
def test_content(gap: Gap, capsys: pytest.CaptureFixture[str], case: Content) -> None:
    """`verify` refuses it; `load` leaves out the images that need it, and never gives them a name."""
    case.harm(gap)
    assert main(["verify", str(gap.bundle), "--quiet"]) == 12
    check_words(capsys.readouterr().err, case.verified)
    assert records(gap)[-1]["result"] == "refused"
    target = gap.folder / "target"
    assert main(["load", str(gap.bundle), "--to", f"oci:{target}", "--quiet"]) == case.code
    check_words(capsys.readouterr().err, case.error)
    assert named_in(target) == case.loaded
    end = records(gap)[-1]
    assert (end["result"], end["exit_code"]) == ("partial" if case.loaded else "failed", case.code)
    assert {item["reference"] for item in end["effect"] if item["verdict"] == "loaded"} == case.loaded


def test_archive_of_damaged_content_is_not_there(gap: Gap, capsys: pytest.CaptureFixture[str]) -> None:
    gap.flip(LAYER.path)
    archive = gap.folder / "images.tar"
    assert main(["load", str(gap.bundle), "--to", f"archive:{archive}", "--quiet"]) == 12
    check_words(capsys.readouterr().err, "wrong digest: ")
    assert not list(gap.folder.glob("images*"))


def fail_reading(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Let the medium fail in the middle of one file."""
    readv = os.readv

    def failing(fd: int, buffers: Any) -> int:
        if str(Path(f"/proc/self/fd/{fd}").readlink()).endswith(name):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return readv(fd, buffers)

    monkeypatch.setattr(os, "readv", failing)


@pytest.mark.parametrize(
    "name", [ENVELOPE_FILE, STATEMENT_FILE, "index.json", CONFIG.path, "trust/1.root.json"]
)
def test_medium_that_fails(
    gap: Gap, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    fail_reading(monkeypatch, f"{gap.bundle.name}/{name}")
    check_refused(gap, capsys, 11, f"cannot read: {gap.bundle}/{name}, got Input/output error")


def test_medium_that_fails_in_a_layer(
    gap: Gap, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_reading(monkeypatch, LAYER.path)
    assert main(["verify", str(gap.bundle), "--quiet"]) == 11
    check_words(capsys.readouterr().err, "cannot read: ")
    target = gap.folder / "target"
    assert main(["load", str(gap.bundle), "--to", f"oci:{target}", "--quiet"]) == 3
    assert named_in(target) == {TWO, MULTI}


# -- receivers that are not ready --------------------------------------------------------------------


def ledger_as(make: Callable[[Path], object]) -> Harm:
    def harm(gap: Gap) -> None:
        gap.site.ledger_path.unlink()
        make(gap.site.ledger_path)

    return harm


RECEIVERS: dict[str, Case] = {
    "no site": (lambda gap: shutil.rmtree(gap.home), 2, "there is no site here yet"),
    "site file is no JSON": (lambda gap: (gap.home / "site.json").write_bytes(b"plant-7"), 10, "not JSON"),
    "folder for ledger": (ledger_as(Path.mkdir), 17, "cannot write the ledger"),
    "link for ledger": (ledger_as(lambda path: path.symlink_to("/dev/null")), 17, "cannot write the ledger"),
    "pipe for ledger": (ledger_as(os.mkfifo), 17, "the ledger is not a regular file"),
    "no record in the ledger": (ledger_as(lambda path: path.write_bytes(b"x\n" * 100)), 17, "no record at the end"),
}  # fmt: skip


@pytest.mark.parametrize(("harm", "code", "error"), RECEIVERS.values(), ids=RECEIVERS)
def test_receiver_that_cannot_record(
    gap: Gap, capsys: pytest.CaptureFixture[str], harm: Harm, code: int, error: str
) -> None:
    """Nothing is done without a record of it."""
    harm(gap)
    target = gap.folder / "target"
    before = snapshot(gap)
    for words in (["verify", str(gap.bundle)], ["load", str(gap.bundle), "--to", f"oci:{target}"]):
        assert main([*words, "--quiet"]) == code
        check_words(capsys.readouterr().err, error)
    assert not target.exists()
    assert snapshot(gap) == before


def lose_roots(gap: Gap) -> None:
    shutil.rmtree(gap.home / "trust")


def replace_root(gap: Gap) -> None:
    """Somebody who can write to the receiving machine puts their own root there, under the next number."""
    root = replace(gap.root.root, version=2)
    (gap.home / "trust" / "2.root.json").write_bytes(sign_root(root, STRANGER))


def gap_in_roots(gap: Gap) -> None:
    root = replace(gap.root.root, version=3)
    (gap.home / "trust" / "3.root.json").write_bytes(sign_root(root, gap.key))


def damage_root(gap: Gap) -> None:
    path = gap.home / "trust" / "1.root.json"
    path.write_bytes(path.read_bytes().replace(b'"payload":"e', b'"payload":"f'))


def file_for_bundle(gap: Gap) -> None:
    shutil.rmtree(gap.bundle)
    gap.bundle.write_bytes(b"tar")


ROOTLESS: dict[str, Case] = {
    "no trust root": (lose_roots, 13, "the trust root is not the one that was installed"),
    "root by a stranger": (replace_root, 13, "2.root.json"),
    "root left out": (gap_in_roots, 13, "the installed trust roots do not follow one another"),
    "damaged root": (damage_root, 13, "1.root.json"),
}


@pytest.mark.parametrize(("harm", "code", "error"), ROOTLESS.values(), ids=ROOTLESS)
def test_receiver_that_cannot_judge(
    gap: Gap, capsys: pytest.CaptureFixture[str], harm: Harm, code: int, error: str
) -> None:
    """The ledger knows better than the files: refused before the bundle is looked at, and recorded."""
    harm(gap)
    target = gap.folder / "target"
    before, count = snapshot(gap), len(records(gap))
    for words in (["verify", str(gap.bundle)], ["load", str(gap.bundle), "--to", f"oci:{target}"]):
        assert main([*words, "--quiet"]) == code
        check_words(capsys.readouterr().err, error)
    assert not target.exists()
    assert snapshot(gap) == before
    assert [(each["event"], each["result"]) for each in records(gap)[count:]] == [("alarm", "alarm")] * 2


def test_a_file_in_place_of_a_bundle(gap: Gap, capsys: pytest.CaptureFixture[str]) -> None:
    file_for_bundle(gap)
    check_refused(gap, capsys, 19, "not the whole tar of a bundle")


# -- every bit, and what verifying touches -----------------------------------------------------------


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Gap:
    return make_gap(tmp_path_factory.mktemp("tiny"), images={ONE: simple_image("one", 60)})


def verify_all(gap: Gap) -> None:
    """All ten steps."""
    with Folder(gap.bundle) as folder:
        for error in verify_content(verify(folder, gap.receiver()), Silent(), 1):
            raise error


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_any_flipped_bit_is_noticed(tiny: Gap, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(path for path in tiny.bundle.rglob("*") if path.is_file())))
    raw = path.read_bytes()
    at = data.draw(st.integers(0, len(raw) - 1))
    changed = bytearray(raw)
    changed[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(changed)
    try:
        with pytest.raises(AirgapError):
            verify_all(tiny)
    finally:
        path.write_bytes(raw)


def test_the_flipped_bundle_is_good_without_the_flip(tiny: Gap) -> None:
    verify_all(tiny)


WATCH = """
import os, sys

seen = []

def watch(event, arguments):
    if event.startswith(("socket.", "subprocess.", "os.system", "os.exec", "os.posix_spawn")):
        seen.append(f"{event}: {arguments}")
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
        seen.append(f"write: {arguments[0]}")
    if event in ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.link", "os.symlink", "os.truncate"):
        seen.append(f"write: {arguments[0]}")

from airgap.cli.main import main
sys.addaudithook(watch)
code = main(sys.argv[1:])
print(*seen, sep="\\n")
sys.exit(code)
"""


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize(
    ("harm", "code"),
    [
        (lambda _: None, 0),
        (flip(LAYER.path), 12),
        (restate(destinations=("x",)), 15),
        (flip(ENVELOPE_FILE, 12), 13),
    ],
    ids=["good", "damaged", "other destination", "bad signature"],
)
def test_verify_opens_no_socket_and_writes_to_the_ledger_only(gap: Gap, harm: Harm, code: int) -> None:
    harm(gap)
    command = [sys.executable, "-B", "-c", WATCH, "verify", str(gap.bundle), "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stderr
    seen = done.stdout.splitlines()
    touched = [line for line in seen if line.startswith(("write: ", "socket.", "subprocess.", "os."))]
    assert set(touched) == {f"write: {gap.home / 'ledger.jsonl'}"}
