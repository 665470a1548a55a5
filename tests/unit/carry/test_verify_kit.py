"""Checking kits at a site that trusts their maker."""

import json
import os
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from airgap.admin.install_root import install_root
from airgap.bundle.files import write_file
from airgap.carry.verify_kit import verify_kit
from airgap.errors import (
    DigestMismatchError,
    ExpiredError,
    FormatError,
    IncompleteError,
    MediaError,
    MissingContentError,
    NoTrustRootError,
    RollbackError,
    SignatureMismatchError,
    SizeMismatchError,
    TrustError,
    UnknownKeyError,
    UnlistedContentError,
    UsageError,
)
from airgap.kit.statement import KitStatement
from airgap.oci.digest import Digest
from airgap.site import Site
from airgap.trust.envelope import STATEMENT_TYPE, Envelope, Signature
from airgap.trust.keys import SigningKey
from tests.support.damage import flip
from tests.support.kits import NOW, SECRET, make_site, make_small_kit


@pytest.fixture(scope="session")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("kit")
    made = make_small_kit(folder)
    root = Site(folder / "home").root()
    install_root(folder / "plant", "plant-7", root, root.fingerprint)
    shutil.copytree(made.path, folder / "kit")
    return folder


@pytest.fixture
def place(made, tmp_path) -> Path:
    shutil.copytree(made, tmp_path / "place")
    return tmp_path / "place"


@pytest.fixture
def kit(place) -> Path:
    return place / "kit"


@pytest.fixture
def site(place) -> Site:
    return Site(place / "plant")


def sign(place: Path, change, payload_type: str = STATEMENT_TYPE) -> None:
    """Sign another statement by the key that is trusted, as an insider can."""
    key = Site(place / "home").signing_key(None, lambda: SECRET)
    old = KitStatement.parse((place / "kit" / "statement.json").read_bytes())
    new = change(old)
    raw = new if isinstance(new, bytes) else new.to_bytes()
    envelope = Envelope.sign(payload_type, raw, [key])
    write_file(place / "kit" / "statement.json", raw)
    write_file(place / "kit" / "sig" / f"{key.public_key.keyid[:16]}.sig", envelope.signatures[0].sig)
    write_file(place / "kit" / "kit.dsse.json", envelope.to_bytes())


def rich(kit: Path) -> Path:
    return next(kit.glob("wheels/rich-*"))


def test_a_good_kit_is_verified_and_recorded(site, kit):
    found = verify_kit(kit, site, NOW)
    assert found.verdict.owners == ("alice",)
    assert found.statement.title == "airgap-kit-0.1.0"
    begin, end = map(json.loads, site.ledger_path.read_bytes().splitlines()[-2:])
    assert (begin["path"], begin["allow_downgrade"], "into" in begin) == (str(kit), False, False)
    assert (end["event"], end["result"], end["statement_sha256"], end["keys"]) == (
        "kit-verify",
        "ok",
        found.statement_sha256,
        list(found.verdict.keyids),
    )


def _signatures(kit: Path, *more: Signature) -> None:
    path = kit / "kit.dsse.json"
    envelope = Envelope.parse(path.read_bytes(), "kit")
    path.write_bytes(replace(envelope, signatures=(*envelope.signatures, *more)).to_bytes())


HARMS = {
    "a wheel changed": (lambda kit: flip(rich(kit)), DigestMismatchError, "wrong digest"),
    "a wheel longer": (lambda kit: rich(kit).write_bytes(rich(kit).read_bytes() + b"x"), SizeMismatchError, "wrong total size"),
    "a wheel missing": (lambda kit: rich(kit).unlink(), MissingContentError, "missing file"),
    "a wheel too many": (lambda kit: (kit / "wheels" / "x.whl").touch(), UnlistedContentError, "does not list"),
    "a folder too many": (lambda kit: (kit / "more").mkdir(), UnlistedContentError, "does not list"),
    "a link": (
        lambda kit: rich(kit).rename(kit.parent / "x") and rich_link(kit), UnlistedContentError, "not a regular file",
    ),
    "sums changed": (lambda kit: flip(kit / "SHA256SUMS"), DigestMismatchError, "SHA256SUMS"),
    "statement changed": (lambda kit: flip(kit / "statement.json"), DigestMismatchError, "not the statement"),
    "loose signature changed": (lambda kit: flip(next(kit.glob("sig/*"))), DigestMismatchError, "not the signature"),
    "no envelope": (lambda kit: (kit / "kit.dsse.json").unlink(), IncompleteError, "not a finished kit"),
    "envelope of nothing": (lambda kit: (kit / "kit.dsse.json").write_bytes(b"{}"), FormatError, "payloadType"),
    "a way out as a key id": (
        lambda kit: _signatures(kit, Signature("../../x", b"x")), FormatError, "not a key id",
    ),
}  # fmt: skip


def rich_link(kit: Path) -> None:
    (kit / "wheels" / "rich-99.0-py3-none-any.whl").symlink_to(kit.parent / "x")


@pytest.mark.parametrize("harm", HARMS)
def test_harmed(site, kit, harm):
    do, error, words = HARMS[harm]
    do(kit)
    with pytest.raises(error, match=words):
        verify_kit(kit, site, NOW)
    assert json.loads(site.ledger_path.read_bytes().splitlines()[-1])["result"] in ("refused", "failed")


def test_a_path_that_does_not_exist(site, tmp_path):
    with pytest.raises(UsageError, match="no such file or folder"):
        verify_kit(tmp_path / "none", site, NOW)


class TestTrust:
    def test_a_stranger(self, tmp_path, site):
        other = make_small_kit(tmp_path / "other")
        with pytest.raises(UnknownKeyError):
            verify_kit(other.path, site, NOW)

    def test_changed_after_signing(self, site, kit):
        path = kit / "kit.dsse.json"
        envelope = Envelope.parse(path.read_bytes(), "kit")
        changed = replace(envelope, payload=envelope.payload.replace(b'"hq"', b'"xx"'))
        path.write_bytes(changed.to_bytes())
        with pytest.raises(SignatureMismatchError):
            verify_kit(kit, site, NOW)

    def test_no_root(self, tmp_path, kit):
        with pytest.raises(NoTrustRootError):
            verify_kit(kit, Site.create(tmp_path / "new", "plant-9"), NOW)

    def test_the_root_has_expired(self, site, kit):
        with pytest.raises(ExpiredError):
            verify_kit(kit, site, NOW + timedelta(days=4000))

    def test_other_keys_may_sign_too(self, site, kit):
        stranger = SigningKey.generate()
        envelope = Envelope.parse((kit / "kit.dsse.json").read_bytes(), "kit").with_signature(stranger)
        write_file(kit / "kit.dsse.json", envelope.to_bytes())
        write_file(kit / "sig" / f"{stranger.public_key.keyid[:16]}.sig", envelope.signatures[1].sig)
        assert verify_kit(kit, site, NOW).verdict.owners == ("alice",)


class TestInsider:
    """Signed lies."""

    def test_another_payload_type(self, site, place):
        sign(place, lambda old: old, "application/vnd.airgap.root.v1+json")
        with pytest.raises(TrustError, match="unexpected payload type"):
            verify_kit(place / "kit", site, NOW)

    def test_a_bundle(self, site, place):
        sign(place, lambda old: old.to_bytes().replace(b"kit:v1", b"bundle:v1"))
        with pytest.raises(FormatError, match="unexpected value"):
            verify_kit(place / "kit", site, NOW)

    def test_sums_that_list_less(self, site, place):
        path = place / "kit" / "SHA256SUMS"
        path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
        sha256 = Digest.of(path.read_bytes()).hex
        size = sum(f.stat().st_size for f in (place / "kit").rglob("*") if f.is_file())
        loose = sum((place / "kit" / n).stat().st_size for n in ("statement.json", "kit.dsse.json"))
        loose += sum(f.stat().st_size for f in (place / "kit" / "sig").iterdir())
        sign(
            place,
            lambda old: replace(
                old, subjects=old.subjects | {"SHA256SUMS": sha256}, total_bytes=size - loose
            ),
        )
        with pytest.raises(DigestMismatchError, match="not the signed checksums"):
            verify_kit(place / "kit", site, NOW)


class TestDowngrade:
    def test_an_older_one(self, place, site):
        """Signed as ever: the checks that it lacks are no matter to a signature."""
        sign(place, lambda old: replace(old, version="0.0.9"))
        with pytest.raises(
            RollbackError, match=r"airgap-kit-0\.0\.9, want airgap 0\.1\.0 or later, got 0\.0\.9"
        ):
            verify_kit(place / "kit", site, NOW)
        end = json.loads(site.ledger_path.read_bytes().splitlines()[-1])
        assert (end["result"], end["exit_code"]) == ("refused", 14)
        assert verify_kit(place / "kit", site, NOW, allow_downgrade=True).statement.version == "0.0.9"
        begin = json.loads(site.ledger_path.read_bytes().splitlines()[-2])
        assert begin["allow_downgrade"] is True

    def test_a_newer_one(self, place, site):
        sign(place, lambda old: replace(old, version="0.1.1"))
        assert verify_kit(place / "kit", site, NOW).statement.version == "0.1.1"

    def test_not_a_version(self, place, site):
        sign(place, lambda old: replace(old, version="new"))
        with pytest.raises(FormatError, match="not a version of airgap: 'new'"):
            verify_kit(place / "kit", site, NOW)


def test_a_kit_is_only_read(site, kit):
    """A kit is only read."""
    before = {path: path.stat().st_mtime_ns for path in kit.rglob("*")}
    verify_kit(kit, site, NOW)
    assert {path: path.stat().st_mtime_ns for path in kit.rglob("*")} == before


def test_the_makers_own_site_can_check_it(place):
    assert verify_kit(place / "kit", Site(place / "home"), NOW).verdict.owners == ("alice",)


def test_sites_do_not_share_trust(tmp_path, kit):
    other, _ = make_site(tmp_path / "else")
    with pytest.raises(UnknownKeyError):
        verify_kit(kit, other, NOW)


class TestCopy:
    """`into`: what was checked is what can be run, whatever the medium gives later."""

    def test_exactly_the_kit(self, site, kit, tmp_path):
        (tmp_path / "root").mkdir()
        copy = verify_kit(kit, site, NOW, into=tmp_path / "root").copy
        assert copy == tmp_path / "root" / "airgap-kit-0.1.0"
        begin = json.loads(site.ledger_path.read_bytes().splitlines()[-2])
        assert begin["into"] == str(tmp_path / "root")
        assert content_of(copy) == content_of(kit)
        assert copy.stat().st_mode & 0o777 == 0o700

    def test_none_is_made_unasked(self, site, kit):
        assert verify_kit(kit, site, NOW).copy is None

    @pytest.mark.parametrize("harm", HARMS)
    def test_none_of_a_kit_that_is_refused(self, site, kit, tmp_path, harm):
        do, error, words = HARMS[harm]
        do(kit)
        (tmp_path / "root").mkdir()
        with pytest.raises(error, match=words):
            verify_kit(kit, site, NOW, into=tmp_path / "root")
        assert list((tmp_path / "root").iterdir()) == []

    @pytest.mark.parametrize("make", [Path.mkdir, Path.touch, lambda path: path.symlink_to("elsewhere")])
    def test_what_is_there_stays(self, site, kit, tmp_path, make):
        there = tmp_path / "root" / "airgap-kit-0.1.0"
        there.parent.mkdir()
        make(there)
        with pytest.raises(UsageError, match="already exists"):
            verify_kit(kit, site, NOW, into=tmp_path / "root")
        assert os.path.lexists(there)
        assert not (tmp_path / "root" / "elsewhere").exists()

    def test_no_folder_for_it(self, site, kit, tmp_path):
        with pytest.raises(MediaError, match="cannot write"):
            verify_kit(kit, site, NOW, into=tmp_path / "none")


def content_of(folder: Path | None) -> dict[str, bytes]:
    assert folder is not None
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
