"""Steps 1 to 8 over one good bundle: times, order in the stream, roots and signatures."""

from dataclasses import replace

import pytest

from airgap.bundle.contents import DockerView, manifest_json
from airgap.bundle.files import Folder
from airgap.bundle.statement import PlatformRecord, Previous
from airgap.carry import verify as module
from airgap.carry.verify import verify_content
from airgap.errors import (
    DestinationError,
    DigestMismatchError,
    ExpiredError,
    FormatError,
    IncompleteError,
    MissingContentError,
    RollbackError,
    ThresholdError,
    TrustError,
    UnknownKeyError,
)
from airgap.oci.digest import Digest
from airgap.progress import Silent
from airgap.site import Mark
from airgap.trust.document import Revocation, Role, RootKey
from airgap.trust.root import SignedRoot
from tests.support.bundles import DAY, MULTI, ONE, STREAM, TWO, Gap, make_gap, sign_root
from tests.unit.carry.verify_support import BOB, IMAGES, OFFICER, check


def mark(statement_sha256: str, serial: int = 1, epoch: int = 1):
    return lambda stream: Mark(epoch, serial, statement_sha256) if stream == STREAM else None


class TestGood:
    def test_what_is_proved(self, gap):
        found = check(gap)
        assert [str(image.name) for image in found.images] == [ONE, TWO, MULTI]
        assert found.verdict.owners == ("alice",)
        assert found.verdict.keyids == (gap.key.public_key.keyid,)
        assert found.statement == gap.statement
        assert found.statement_sha256 == Digest.of(gap.envelope.payload).hex
        assert set(found.sizes) == set(found.statement.subjects)
        assert (found.repeat, found.missed, found.newer_roots) == (False, 0, ())

    def test_a_bundle_for_another_site_may_be_checked(self, gap):
        gap.restate(destinations=("plant-9",))
        with Folder(gap.bundle) as folder:
            checked = module.check(folder, gap.receiver())
            assert checked.statement == gap.statement
            assert checked.read("oci-layout", 1024) == (gap.bundle / "oci-layout").read_bytes()

    def test_content(self, bundle):
        assert verify_content(bundle, Silent(), 2) == []

    def test_blobs_in_another_algorithm(self, tmp_path):
        """A sha512 blob is checked by its name and by its listed sum."""
        gap = make_gap(tmp_path)
        raw = (gap.blob(IMAGES[ONE].layers[1])).read_bytes()
        wide = Digest.of(raw, "sha512")
        manifest = IMAGES[ONE].raw.replace(str(IMAGES[ONE].layers[1]).encode(), str(wide).encode())
        config, base = (IMAGES[ONE].contents[d] for d in (IMAGES[ONE].config, IMAGES[ONE].layers[0]))
        platforms = (PlatformRecord("linux/amd64", Digest.of(manifest), IMAGES[ONE].config),)
        paths = (IMAGES[ONE].layers[0].path, wide.path)
        view = manifest_json([DockerView(gap.statement.images[0].name, IMAGES[ONE].config.path, paths)])
        gap.put_image(manifest, config, base, platforms=platforms, view=view, extra={wide.path: raw})
        found = check(gap)
        with Folder(gap.bundle) as folder:
            again = replace(found, folder=folder)
            assert verify_content(again, Silent(), 1) == []
            subjects = {**found.statement.subjects, wide.path: "0" * 64}
            listed = replace(again, statement=replace(found.statement, subjects=subjects))
            assert [str(error.want) for error in verify_content(listed, Silent(), 1)] == [
                f"sha256:{'0' * 64}"
            ]
            (gap.bundle / wide.path).write_bytes(b"x" * len(raw))
            assert len(verify_content(again, Silent(), 1)) == 1

    @pytest.mark.parametrize("site", ["plant-7", "plant-8"])
    def test_destinations(self, gap, site):
        gap.restate(destinations=("plant-7", "plant-8"))
        check(gap, site=site)
        with pytest.raises(DestinationError, match="want plant-7, plant-8, got plant-9"):
            check(gap, site="plant-9")

    def test_a_blob_that_is_left_out_cannot_be_read(self, gap, bundle):
        left_out = replace(IMAGES[ONE].descriptor, digest=Digest.of(b"other"))
        with pytest.raises(IncompleteError, match="the bundle leaves this blob out"):
            bundle.open_blob(left_out)
        (layer, *_) = IMAGES[ONE].layers
        sizes = {name: size for name, size in bundle.sizes.items() if name != layer.path}
        assert bundle.blobs.keys() - replace(bundle, sizes=sizes).blobs.keys() == {layer}

    def test_a_fork_that_was_left(self, bundle):
        statement = replace(bundle.statement, epoch=2, previous=Previous(1, "b" * 64))
        assert "b" * 64 in replace(bundle, statement=statement, mark=Mark(1, 1, "a" * 64)).left_fork


class TestTime:
    @pytest.mark.parametrize(
        ("when", "error", "words"),
        [
            (lambda s: s.not_before, None, ""),
            (lambda s: s.not_before - DAY, ExpiredError, "the bundle is not valid yet"),
            (lambda s: s.expires - DAY, None, ""),
            (lambda s: s.expires, ExpiredError, "the bundle has expired"),
            (lambda s: s.expires + DAY, ExpiredError, "the bundle has expired"),
            (lambda s: s.created + 731 * DAY, ExpiredError, "the trust root has expired"),
        ],
    )
    def test_now(self, gap, when, error, words):
        now = when(gap.statement)
        if error is None:
            check(gap, now=now)
            return
        with pytest.raises(error, match=words) as caught:
            check(gap, now=now)
        assert caught.value.hint


class TestRollback:
    @pytest.mark.parametrize(("serial", "missed"), [(1, 0), (2, 0), (3, 1), (9, 7)])
    def test_later_serials(self, gap, serial, missed):
        gap.restate(serial=serial)
        found = check(gap, mark=mark("a" * 64, serial=1) if serial > 1 else lambda _: None)
        assert (found.repeat, found.missed) == (False, missed)

    def test_the_first_of_an_epoch_misses_nothing(self, gap):
        gap.put_root(replace(gap.root.root, version=2, epoch=2))
        gap.restate(serial=5, epoch=2, root_version=2)
        found = check(gap, mark=mark("a" * 64, serial=1, epoch=1))
        assert found.missed == 0

    def test_a_jump_that_a_person_accepts(self, gap):
        gap.restate(serial=1002)
        with pytest.raises(RollbackError, match="too high"):
            check(gap, mark=mark("a" * 64))
        assert check(gap, mark=mark("a" * 64), accept_jump=True).missed == 1000

    def test_the_same_again(self, gap):
        sha256 = Digest.of(gap.envelope.payload).hex
        assert check(gap, mark=mark(sha256)).repeat

    @pytest.mark.parametrize(
        ("serial", "epoch", "words"),
        [
            (1, 1, "two different bundles"),
            (2, 1, "older than the last accepted bundle"),
            (99, 1, "want serial 99 again, or a later one, in epoch 1, got serial 1 in epoch 1"),
            (1, 2, "older than the last accepted bundle"),
        ],
    )
    def test_refused(self, gap, serial, epoch, words):
        with pytest.raises(RollbackError, match=words):
            check(gap, mark=mark("a" * 64, serial, epoch))

    def test_a_mark_of_another_stream(self, gap):
        check(gap, mark=lambda stream: Mark(1, 99, "a" * 64) if stream != STREAM else None)

    @pytest.mark.parametrize("epoch", [0, 2])
    def test_another_epoch(self, gap, epoch):
        gap.restate(epoch=epoch)
        with pytest.raises(RollbackError, match="made in another epoch"):
            check(gap)


class TestRoots:
    def test_a_newer_root_is_walked_to(self, gap):
        gap.put_root(replace(gap.root.root, version=2))
        found = check(gap)
        assert [root.root.version for root in found.newer_roots] == [2]
        assert found.verdict.root_version == 2

    def test_several(self, gap):
        for version in (2, 3, 4):
            gap.put_root(replace(gap.root.root, version=version))
        assert [root.root.version for root in check(gap).newer_roots] == [2, 3, 4]

    def test_a_bundle_of_an_older_root_under_a_newer(self, gap):
        gap.put_root(replace(gap.root.root, version=2))
        gap.restate(root_version=1)
        check(gap)

    def test_a_bundle_of_a_root_that_is_not_installed(self, gap):
        gap.restate(root_version=2)
        with pytest.raises(TrustError, match="want at most version 1, got version 2"):
            check(gap)

    def test_the_new_root_decides(self, gap):
        """Bob may sign only by root 2, and alice no longer may."""
        keys = {**gap.root.root.keys, BOB.public_key.keyid: RootKey(BOB.public_key, "bob")}
        role = Role(frozenset({BOB.public_key.keyid}), 1, distinct_owners=False)
        root = replace(gap.root.root, version=2, keys=keys, roles={**gap.root.root.roles, "release": role})
        gap.put_root(root)
        with pytest.raises(UnknownKeyError, match="trust root 2"):
            check(gap)
        gap.seal(gap.envelope.payload, BOB)
        assert check(gap).verdict.owners == ("bob",)

    def test_no_more_than_a_walk_at_a_time(self, gap, monkeypatch):
        for version in (2, 3):
            gap.put_root(replace(gap.root.root, version=version))
        monkeypatch.setattr(module, "MAX_ROOT_STEPS", 1)
        gap.restate(root_version=2)
        assert [root.root.version for root in check(gap).newer_roots] == [2]

    def test_a_root_is_read_only_when_the_one_before_has_signed_it(self, gap):
        """Else a medium full of files could fill the memory."""
        (gap.bundle / "trust" / "2.root.json").write_bytes(sign_root(replace(gap.root.root, version=2), BOB))
        (gap.bundle / "trust" / "3.root.json").mkdir()
        with pytest.raises(TrustError, match="trust root 1"):
            check(gap)

    def test_revoked(self, gap):
        old = gap.root.root
        keys = {**old.keys, OFFICER.public_key.keyid: RootKey(OFFICER.public_key, "officer")}
        roles = {**old.roles, "root": Role(frozenset({OFFICER.public_key.keyid}), 1, distinct_owners=False)}
        accepted = frozenset({Digest.of(gap.envelope.payload).hex})
        for revocation, refused in (
            (Revocation(0, frozenset()), True),
            (Revocation(0, accepted), False),
            (Revocation(1, frozenset()), False),
        ):
            root = replace(old, keys=keys, roles=roles, revoked={gap.key.public_key.keyid: revocation})
            trusted = SignedRoot.parse(sign_root(root, OFFICER), "root")
            if refused:
                with pytest.raises(TrustError, match="signed by a revoked key"):
                    check(gap, root=trusted)
            else:
                check(gap, root=trusted)


class TestSignatures:
    def two(self, gap: Gap) -> Gap:
        keys = {**gap.root.root.keys, BOB.public_key.keyid: RootKey(BOB.public_key, "bob")}
        role = Role(frozenset({BOB.public_key.keyid, gap.key.public_key.keyid}), 2, distinct_owners=True)
        return gap.install(replace(gap.root.root, keys=keys, roles={**gap.root.root.roles, "release": role}))

    def test_two_of_two(self, gap):
        gap.seal(gap.envelope.payload, gap.key, BOB)
        assert check(self.two(gap)).verdict.owners == ("alice", "bob")

    def test_one_of_two(self, gap):
        with pytest.raises(ThresholdError):
            check(self.two(gap))

    def test_one_of_two_so_far(self, gap):
        assert check(self.two(gap), partly=True).verdict.owners == ("alice",)

    def test_one_of_two_and_a_stranger(self, gap):
        gap.seal(gap.envelope.payload, gap.key, OFFICER)
        with pytest.raises(ThresholdError):
            check(self.two(gap))

    def test_an_unknown_signature_beside_is_ignored(self, gap):
        gap.seal(gap.envelope.payload, gap.key, OFFICER)
        assert check(gap).verdict.ignored == (OFFICER.public_key.keyid,)

    @pytest.mark.parametrize("keyid", ["", "ab", "AB" * 32, "x" * 64, "ab" * 32 + "\n"])
    def test_key_ids_must_name_files(self, gap, keyid):
        envelope = gap.envelope
        signatures = (*envelope.signatures, replace(envelope.signatures[0], keyid=keyid, sig=b"x"))
        (gap.bundle / "bundle.dsse.json").write_bytes(replace(envelope, signatures=signatures).to_bytes())
        with pytest.raises(FormatError, match=r"not a key id: bundle\.dsse\.json"):
            check(gap)

    def test_loose_signatures_are_those_of_the_envelope(self, gap):
        gap.seal(gap.envelope.payload, gap.key, BOB)
        check(gap)
        loose = gap.bundle / "sig" / f"{BOB.public_key.keyid[:16]}.sig"
        raw = loose.read_bytes()
        for wrong in (raw[:-1], raw + b"x", bytes(len(raw))):
            loose.write_bytes(wrong)
            with pytest.raises(DigestMismatchError, match="not the signature in the envelope"):
                check(gap)
        loose.unlink()
        with pytest.raises(MissingContentError, match="missing file"):
            check(gap)
