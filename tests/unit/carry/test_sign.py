"""A further signature: what it demands, what it writes, and what a run that was killed leaves."""

import contextlib
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from airgap.bundle import files
from airgap.bundle.contents import ENVELOPE_FILE
from airgap.bundle.files import Folder
from airgap.bundle.volumes import open_bundle
from airgap.carry import sign as module
from airgap.carry.operator import Operator, never_ask
from airgap.carry.sign import sign
from airgap.carry.verify import verify
from airgap.errors import (
    AirgapError,
    DigestMismatchError,
    ExpiredError,
    IncompleteError,
    RollbackError,
    SignatureMismatchError,
    ThresholdError,
    TrustError,
    UnknownKeyError,
    UnlistedContentError,
    UsageError,
)
from airgap.progress import Silent
from airgap.trust.envelope import Envelope
from airgap.trust.keys import SigningKey
from airgap.trust.root import Revocation, Role, RootKey
from tests.support.bundles import DAY, Gap
from tests.support.cut import cut_in_thirds

BOB, CAROL, STRANGER = (SigningKey.generate() for _ in range(3))


def two_people(gap: Gap, **changes: object) -> Gap:
    """A site whose root wants two of alice, bob and carol."""
    old = gap.root.root
    keys = {
        key.public_key.keyid: RootKey(key.public_key, name) for key, name in ((BOB, "bob"), (CAROL, "carol"))
    }
    release = Role(old.roles["release"].keyids | keys.keys(), 2, distinct_owners=True)
    root = replace(old, keys={**old.keys, **keys}, roles={**old.roles, "release": release})
    return gap.install(replace(root, **changes))


@pytest.fixture
def gap(gap: Gap) -> Gap:
    return two_people(gap)


def operator(gap: Gap, now=None) -> Operator:
    return Operator(site=gap.site, now=now or gap.now, progress=Silent(), jobs=1, ask=never_ask)


def put(gap: Gap, *places: Path, key: SigningKey = BOB, now=None):
    return sign(places or (gap.bundle,), key, operator(gap, now))


def loads(gap: Gap, *places: Path):
    with open_bundle(places or (gap.bundle,)) as folder:
        return verify(folder, gap.receiver())


def content(*folders: Path) -> dict[str, bytes]:
    return {
        f"{number}/{path.relative_to(folder)}": path.read_bytes()
        for number, folder in enumerate(folders)
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_with_the_second_signature_it_loads(gap):
    with pytest.raises(ThresholdError) as caught:
        loads(gap)
    assert caught.value.hint == "run `airgap sign` to add one"
    before = content(gap.bundle)
    done = put(gap)
    assert (done.owners, done.wanted, done.fresh) == (("alice", "bob"), None, True)
    assert loads(gap).verdict.owners == ("alice", "bob")
    after = content(gap.bundle)
    new = f"0/sig/{BOB.public_key.keyid[:16]}.sig"
    assert after.keys() - before.keys() == {new}
    assert [name for name in before if before[name] != after[name]] == [f"0/{ENVELOPE_FILE}"]
    assert BOB.public_key.verify(gap.envelope.message, after[new])
    assert not list(gap.bundle.rglob("*.part"))


def test_a_third_and_the_same_again(gap):
    put(gap)
    assert put(gap, key=CAROL).owners == ("alice", "bob", "carol")
    before = content(gap.bundle)
    again = put(gap)
    assert (again.owners, again.fresh) == (("alice", "bob", "carol"), False)
    assert put(gap, key=gap.key).fresh is False
    assert content(gap.bundle) == before


def test_all_volumes_have_it(gap):
    volumes = cut_in_thirds_of_a_full(gap)
    assert put(gap, *volumes, key=CAROL).owners == ("alice", "bob", "carol")
    assert loads(gap, *volumes).verdict.owners == ("alice", "bob", "carol")
    with pytest.raises(IncompleteError, match="volume"):
        put(gap, *volumes[:2], key=CAROL)


def cut_in_thirds_of_a_full(gap: Gap) -> list[Path]:
    put(gap)
    return cut_in_thirds(gap, gap.folder / "cut")


def refused(gap: Gap, error: type[AirgapError], *places: Path, match: str | None = None, key=BOB, now=None):
    before = content(*(path for path in places or (gap.bundle,) if path.is_dir()))
    with pytest.raises(error, match=match) as caught:
        put(gap, *places, key=key, now=now)
    assert content(*(path for path in places or (gap.bundle,) if path.is_dir())) == before
    return caught.value


def test_who_may_not(gap):
    assert "trust show" in refused(gap, UnknownKeyError, match="may not sign bundles now", key=STRANGER).hint
    refused(gap, UnknownKeyError, key=gap.site.key)


def test_a_key_that_was_revoked_or_is_outside_its_time(gap):
    keyid = BOB.public_key.keyid
    revoked = two_people(gap, revoked={keyid: Revocation(0, frozenset())})
    refused(revoked, UnknownKeyError)
    root = gap.root.root
    late = replace(root.keys[keyid], not_after=gap.now - DAY)
    refused(gap.install(replace(root, keys={**root.keys, keyid: late})), UnknownKeyError)


def test_beside_a_signature_that_was_revoked(gap):
    keyid = gap.key.public_key.keyid
    root = gap.root.root
    roles = {**root.roles, "root": replace(root.roles["root"], keyids=frozenset({CAROL.public_key.keyid}))}
    changed = replace(root, roles=roles, revoked={keyid: Revocation(0, frozenset())})
    envelope = Envelope.sign("application/vnd.airgap.root.v1+json", changed.to_bytes(), [CAROL])
    for path in (gap.home / "trust").iterdir():
        path.write_bytes(envelope.to_bytes())
    refused(gap, TrustError, match="revoked")


def test_an_expired_bundle(gap):
    refused(gap, ExpiredError, match="the bundle has expired", now=gap.statement.expires)


def test_a_bundle_of_another_epoch_is_not_signed(gap):
    later = gap.install(replace(gap.root.root, epoch=2))
    refused(later, RollbackError, match="made in another epoch")


def test_a_bundle_for_another_site_may_be_signed(gap):
    gap.restate(destinations=("plant-9",))
    assert put(gap).fresh


@pytest.mark.parametrize("stranger", [STRANGER, None])
def test_beside_a_signature_that_does_not_count(gap, stranger):
    message = gap.envelope.message
    sig = stranger.sign(message) if stranger else b"junk"
    keyid = stranger.public_key.keyid if stranger else CAROL.public_key.keyid
    gap.add_signature(keyid, sig)
    refused(gap, SignatureMismatchError if stranger is None else TrustError)


def test_a_bundle_that_is_damaged(gap):
    layer = next(iter(sorted((gap.bundle / "blobs/sha256").iterdir(), key=lambda path: -path.stat().st_size)))
    gap.flip(str(layer.relative_to(gap.bundle)))
    refused(gap, DigestMismatchError)


def test_a_file_too_many(gap):
    (gap.bundle / "sig" / f"{CAROL.public_key.keyid[:16]}.sig").write_bytes(b"of somebody else")
    refused(gap, UnlistedContentError)


def test_a_tar_and_other_paths_are_not_signed(gap):
    tar = gap.folder / "x.tar"
    tar.write_bytes(b"x")
    assert "airgap repack" in refused(gap, UsageError, tar, match="a tar cannot be signed").hint
    with pytest.raises(AirgapError):
        put(gap, gap.folder / "none")
    assert not (gap.folder / "none").exists()
    (gap.bundle / ENVELOPE_FILE).unlink()
    refused(gap, IncompleteError, match="not a finished bundle")


def test_links_on_the_medium_are_not_followed(gap):
    elsewhere = gap.folder / "elsewhere"
    shutil.move(gap.bundle / "sig", elsewhere)
    (gap.bundle / "sig").symlink_to(elsewhere)
    before = content(elsewhere)
    with pytest.raises(AirgapError):
        put(gap)
    assert content(elsewhere) == before


def test_another_airgap_is_writing_there(gap):
    with module.claimed((gap.bundle,)):
        refused(gap, UsageError, match="another airgap process is writing there")


class Killed(BaseException):
    pass


@pytest.mark.parametrize("cut", [False, True])
def test_killed_at_any_write_and_run_again(gap, monkeypatch, cut):
    """It is good with the old signatures, or good with the new one, or is refused; and a second run ends well."""
    if cut:
        sealed = cut_in_thirds_of_a_full(gap)
        key, owners = CAROL, ("alice", "bob", "carol")
    else:
        sealed, key, owners = [gap.bundle], BOB, ("alice", "bob")
    write = files.write_file
    for at in range(1, 3 * len(sealed) + 2):
        places = [shutil.copytree(path, gap.folder / f"at{at}" / path.name) for path in sealed]
        calls = []

        def dying(path: Path, data: bytes, calls=calls, at=at) -> None:
            calls.append(path)
            if len(calls) == at:
                raise Killed
            write(path, data)

        monkeypatch.setattr("airgap.bundle.writer.write_file", dying)
        try:
            put(gap, *places, key=key)
        except Killed:
            pass
        else:
            break
        monkeypatch.setattr("airgap.bundle.writer.write_file", write)
        with contextlib.suppress(AirgapError):
            assert set(loads(gap, *places).verdict.owners) <= set(owners)
        assert put(gap, *places, key=key).owners == owners
        assert loads(gap, *places).verdict.owners == owners
    assert at == 2 * len(sealed) + 1


def test_the_bytes_of_the_statement_stay(gap):
    before = gap.envelope.payload
    put(gap)
    with Folder(gap.bundle) as folder:
        assert folder.read("statement.json", 1 << 20) == before == gap.envelope.payload


@pytest.mark.parametrize(
    "name", [ENVELOPE_FILE, f"sig/{BOB.public_key.keyid[:16]}.sig"], ids=["envelope", "signature"]
)
def test_killed_before_a_file_got_its_name(gap, name):
    (gap.bundle / f"{name}.part").write_bytes(b"half")
    assert put(gap).fresh
    assert loads(gap).verdict.owners == ("alice", "bob")
