"""The commands of README and of both VERIFY.txt, pasted into a shell, off a medium that is hostile.

What is run or loaded is what was signed, or nothing is. The last commands are the real ones: the kit's own
installer, with a stand-in for pip, and `docker load`, with a stand-in that keeps what it was given.
"""

import hashlib
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from airgap.trust.keys import SigningKey
from tests.support.bundles import Gap, make_gap
from tests.support.by_hand import (
    BUNDLE_TEXT,
    KIT_TEXT,
    Hand,
    block,
    by_key,
    readme_block,
    replaced,
)
from tests.support.hostile import Trick, endless, hostile, link, more, turns
from tests.support.kits import make_small_kit
from tests.support.mounted import require_fuse
from tests.support.parts import require_tool

KIT = "airgap-kit-0.1.0"
KINDS = {"p256": "ecdsa-p256", "p384": "ecdsa-p384", "ed25519": "ed25519"}


@dataclass(frozen=True)
class Kit:
    """A good kit at `stick`/KIT."""

    stick: Path
    key: Path
    sum: str


@pytest.fixture(scope="module")
def kit(tmp_path_factory: pytest.TempPathFactory) -> Kit:
    folder = tmp_path_factory.mktemp("kit")
    made = make_small_kit(folder)
    return Kit(made.path.parent, folder / "home" / "keys" / "alice.pub", made.statement_sha256)


@pytest.fixture(scope="module")
def gap(tmp_path_factory: pytest.TempPathFactory) -> Gap:
    gap = make_gap(tmp_path_factory.mktemp("gap"))
    (gap.folder / "alice.pub").write_text(gap.key.public_key.pem)
    return gap


@pytest.fixture
def hand(tmp_path: Path) -> Hand:
    return Hand(tmp_path)


def test_readme_and_the_texts_have_the_same_commands():
    assert readme_block("KIT") == block(KIT_TEXT)
    assert readme_block("KEY") == block(BUNDLE_TEXT)


# -- a kit


def install(hand: Hand, kit: Path, text: str, **variables: object) -> subprocess.CompletedProcess[str]:
    text = replaced(text, "sh install.sh)", f"sh install.sh --prefix {hand.folder}/prefix)")
    return hand(text, KIT=kit, **variables)


def installed(hand: Hand) -> bool:
    """Whether airgap is at the prefix. Nothing of the medium's own ran, in any case."""
    assert not (hand.folder / "evil").exists(), "the medium's own commands ran"
    command = hand.folder / "prefix" / "bin" / "airgap"
    if not command.exists():
        return False
    assert subprocess.run([command], check=True, capture_output=True).stdout == b"stand-in\n"
    return True


def evil(hand: Hand) -> bytes:
    return f"#!/bin/sh\ntouch {hand.folder}/evil\n".encode()


def evil_python(hand: Hand) -> bytes:
    return f"open({str(hand.folder / 'evil')!r}, 'w')\n".encode()


# what the medium does, and whether airgap is installed then: the good one, or none
KIT_TRICKS = {
    "nothing": (lambda hand: {}, True),
    "the folder is a link": (lambda hand: {"link": link(KIT)}, True),
    "the folder is a link, and its files turn": (
        lambda hand: {"link": link(KIT), f"{KIT}/install.sh": turns(evil(hand)), f"{KIT}/install.py": turns(evil_python(hand))},
        True,
    ),
    "another install.sh at the second reading": (lambda hand: {f"{KIT}/install.sh": turns(evil(hand))}, True),
    "another install.py at the second reading": (lambda hand: {f"{KIT}/install.py": turns(evil_python(hand))}, True),
    "another install.sh at once": (lambda hand: {f"{KIT}/install.sh": turns(evil(hand), 0)}, False),
    "another list at the second reading": (lambda hand: {f"{KIT}/SHA256SUMS": turns(b"")}, True),
    "another list at once": (lambda hand: {f"{KIT}/SHA256SUMS": turns(b"", 0)}, False),
    "another statement at once": (lambda hand: {f"{KIT}/statement.json": turns(b"{}", 0)}, False),
    "install.sh is a link": (lambda hand: {f"{KIT}/install.sh": link("good"), f"{KIT}/good": more(evil(hand))}, False),
    "install.py is a link to itself on this machine": (
        lambda hand: {f"{KIT}/install.py": link(Path(__file__).parents[2] / "airgap" / "kit" / "install.py")},
        False,
    ),
    "the statement is a link": (lambda hand: {f"{KIT}/statement.json": link("/dev/zero")}, False),
    "the list is a pipe": (lambda hand: {f"{KIT}/SHA256SUMS": Trick("fifo")}, False),
    "install.sh is a pipe": (lambda hand: {f"{KIT}/install.sh": Trick("fifo")}, False),
    "the envelope is a pipe": (lambda hand: {f"{KIT}/kit.dsse.json": Trick("fifo")}, True),
    "install.sh is a socket": (lambda hand: {f"{KIT}/install.sh": Trick("socket")}, False),
    "install.sh is a folder": (lambda hand: {f"{KIT}/install.sh": Trick("folder")}, False),
    "install.sh is a device without end": (lambda hand: {f"{KIT}/install.sh": Trick("zeros")}, False),
    "install.sh has no end": (lambda hand: {f"{KIT}/install.sh": endless()}, False),
    "the statement has no end": (lambda hand: {f"{KIT}/statement.json": endless()}, False),
    "files too many": (
        lambda hand: {
            f"{KIT}/sitecustomize.py": more(evil_python(hand)), f"{KIT}/argparse.py": more(evil_python(hand)),
            f"{KIT}/wheels/evil-1-py3-none-any.whl": more(b"x"), f"{KIT}/-rf": more(), f"{KIT}/a\nb": more(),
            f"{KIT}/requirements/x": Trick("fifo"),
        },
        True,
    ),
    "a file too few": (lambda hand: {f"{KIT}/VERIFY.txt": link("nothing")}, False),
    "names that lead out of the folder": (
        lambda hand: {f"{KIT}/SHA256SUMS": turns(f"{'0' * 64}  ../evil\n".encode(), 0), "evil": more(b"x")}, False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("trick", KIT_TRICKS)
def test_a_kit(kit: Kit, hand: Hand, trick: str):
    require_fuse()
    tricks, good = KIT_TRICKS[trick]
    with hostile(hand.folder / "medium", kit.stick, tricks(hand)) as medium:
        folder = medium / ("link" if "link" in tricks(hand) else KIT)
        done = install(hand, folder, readme_block("KIT"), SUM=kit.sum)
    assert (done.returncode == 0, installed(hand)) == (good, good), done


@pytest.mark.parametrize("wrong", ["", "0" * 64, "the-sum-on-paper"])
def test_another_sum(kit: Kit, hand: Hand, wrong: str):
    done = install(hand, kit.stick / KIT, readme_block("KIT"), SUM=wrong)
    assert (done.returncode, installed(hand)) == (1, False), done


@pytest.mark.parametrize("kind", KINDS)
def test_a_kit_by_its_signature(hand: Hand, kind: str, tmp_path: Path):
    made = make_small_kit(tmp_path / "made", KINDS[kind])
    key = tmp_path / "made" / "home" / "keys" / "alice.pub"
    stranger = tmp_path / "stranger.pub"
    stranger.write_text(SigningKey.generate(KINDS[kind]).public_key.pem)
    text = by_key(KIT_TEXT, kind)
    for wrong in (stranger, tmp_path / "none"):
        assert install(hand, made.path, text, KEY=wrong).returncode != 0
        assert not installed(hand)
    own = next((made.path / "sig").iterdir())
    sha256 = hashlib.sha256(stranger_der(stranger)).hexdigest()
    own.with_name(f"{sha256[:16]}.sig").write_bytes(own.read_bytes())
    assert install(hand, made.path, text, KEY=stranger).returncode != 0
    assert not installed(hand)
    done = install(hand, made.path, text, KEY=key)
    assert (done.returncode, installed(hand)) == (0, True), done


def stranger_der(key: Path) -> bytes:
    return subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", key, "-outform", "DER"], check=True, capture_output=True
    ).stdout


def test_bash_agrees(kit: Kit, gap: Gap, tmp_path: Path):
    """Where `sh` is dash, as on Debian, what people paste into is bash."""
    hand = Hand(tmp_path, shell=require_tool("bash"))
    stick = tmp_path / "stick"
    subprocess.run(["cp", "-r", kit.stick, stick], check=True)
    (stick / KIT / "install.sh").write_bytes(evil(hand))
    done = install(hand, stick / KIT, block(KIT_TEXT), SUM=kit.sum)
    assert (done.returncode, installed(hand)) == (1, False), done
    assert install(hand, kit.stick / KIT, block(KIT_TEXT), SUM=kit.sum).returncode == 0
    assert installed(hand)
    assert load(hand, gap.bundle, gap.folder / "alice.pub", block(BUNDLE_TEXT)).returncode == 0
    assert "manifest.json" in loaded(hand)


# -- a bundle


def load(hand: Hand, bundle: Path, key: Path, text: str) -> subprocess.CompletedProcess[str]:
    return hand(text, BUNDLE=bundle, KEY=key)


def loaded(hand: Hand) -> dict[str, bytes]:
    """The files that `docker load` was given."""
    if not hand.loaded.exists():
        return {}
    with tarfile.open(hand.loaded) as tar:
        files = [member for member in tar if not member.isdir()]
        assert all(member.isfile() for member in files)
        return {member.name.removeprefix("./"): tar.extractfile(member).read() for member in files}  # type: ignore[union-attr]


def blob(gap: Gap) -> str:
    """The largest file that the list names."""
    names = [path for path in gap.bundle.glob("blobs/*/*") if path.is_file()]
    largest = max(names, key=lambda path: (path.stat().st_size, path.name))
    return largest.relative_to(gap.bundle.parent).as_posix()


BUNDLE = "bundle"
BUNDLE_TRICKS = {
    "nothing": (lambda name, top: {}, True),
    "the folder is a link, and a blob turns": (lambda name, top: {"link": link(top), name: turns(b"evil")}, True),
    "another blob at the second reading": (lambda name, top: {name: turns(b"evil")}, True),
    "another manifest at the second reading": (lambda name, top: {f"{top}/manifest.json": turns(b"[]")}, True),
    "another blob at once": (lambda name, top: {name: turns(b"evil", 0)}, False),
    "a blob is a link": (lambda name, top: {name: link(f"/{name}")}, False),
    "a blob is a pipe": (lambda name, top: {name: Trick("fifo")}, False),
    "a blob has no end": (lambda name, top: {name: endless()}, False),
    "a blob is a device without end": (lambda name, top: {name: Trick("zeros")}, False),
    "the list is a pipe": (lambda name, top: {f"{top}/SHA256SUMS": Trick("fifo")}, False),
    "the statement has no end": (lambda name, top: {f"{top}/statement.json": endless()}, False),
    "files too many": (
        lambda name, top: {
            f"{top}/repositories": more(b"{}"), f"{top}/blobs/sha256/{'0' * 64}": more(b"x"), f"{top}/-x": more(),
            f"{top}/sig/0.sig": Trick("fifo"),
        },
        True,
    ),
    "another list": (
        lambda name, top: {f"{top}/SHA256SUMS": turns(f"{'0' * 64}  ../evil\n".encode(), 0)}, False,
    ),
}  # fmt: skip


@pytest.mark.parametrize("trick", BUNDLE_TRICKS)
def test_a_bundle(gap: Gap, hand: Hand, trick: str):
    require_fuse()
    tricks, good = BUNDLE_TRICKS[trick]
    top = gap.bundle.name
    plan = tricks(blob(gap), top)
    with hostile(hand.folder / "medium", gap.bundle.parent, plan) as medium:
        folder = medium / ("link" if "link" in plan else top)
        done = load(hand, folder, gap.folder / "alice.pub", readme_block("KEY"))
    assert (done.returncode == 0) == good, done
    signed = {name: raw for name, raw in gap.files().items() if name != "bundle.dsse.json"}
    assert loaded(hand) == (signed if good else {})


@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_by_each_kind_of_key(gap: Gap, hand: Hand, kind: str):
    """Who else signs is not asked for: one signature by the key that is trusted is enough."""
    key = SigningKey.generate(KINDS[kind])
    bundle = hand.folder / "stack-0001"
    bundle.mkdir()
    subprocess.run(["cp", "-r", f"{gap.bundle}/.", bundle], check=True)
    statement = (bundle / "statement.json").read_bytes()
    message = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(statement), statement)
    public = hand.folder / "bob.pub"
    public.write_text(key.public_key.pem)
    text = by_key(BUNDLE_TEXT, kind)
    signature = bundle / "sig" / f"{key.public_key.keyid[:16]}.sig"
    for raw in (None, key.sign(message + b" ")):
        if raw is not None:
            signature.write_bytes(raw)
        assert load(hand, bundle, public, text).returncode != 0
        assert loaded(hand) == {}
    signature.write_bytes(key.sign(message))
    assert load(hand, bundle, public, text).returncode == 0
    assert "manifest.json" in loaded(hand)


def test_a_signer_s_list_leads_nowhere_else(gap: Gap, hand: Hand):
    """Whoever may sign bundles may not write files on the machine of the one who checks by hand."""
    bundle = hand.folder / "stack-0001"
    bundle.mkdir()
    subprocess.run(["cp", "-r", f"{gap.bundle}/.", bundle], check=True)
    (hand.folder / "victim").write_bytes(b"keep")
    (hand.folder / "stack-0001" / "victim").write_bytes(b"evil")
    sha256 = hashlib.sha256(b"evil").hexdigest()
    for name in (
        f"../{'../' * 8}{hand.folder}/victim",
        "../../victim",
        str(hand.folder / "victim"),
        "new/victim",
    ):
        sums = f"{sha256}  {name}\n".encode()
        (bundle / "SHA256SUMS").write_bytes(sums)
        old, new = (hashlib.sha256(raw).hexdigest() for raw in (gap.files()["SHA256SUMS"], sums))
        statement = gap.files()["statement.json"].replace(old.encode(), new.encode())
        (bundle / "statement.json").write_bytes(statement)
        message = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(statement), statement)
        next(iter((bundle / "sig").iterdir())).write_bytes(gap.key.sign(message))
        done = load(hand, bundle, gap.folder / "alice.pub", block(BUNDLE_TEXT))
        assert done.returncode != 0
        assert done.stdout == "Verified OK\n"
        assert (hand.folder / "victim").read_bytes() == b"keep"
        assert loaded(hand) == {}
