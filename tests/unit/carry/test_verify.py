"""Steps 1 to 10 over one bundle; how they end in the program is in tests/cli/test_bad_bundles.py."""

from dataclasses import replace
from pathlib import Path

import pytest

from airgap.bundle.contents import DockerView, manifest_json
from airgap.bundle.files import Folder
from airgap.bundle.statement import PlatformRecord, Previous
from airgap.carry import verify as module
from airgap.carry.verify import VerifiedBundle, authenticate, read_envelope, verify, verify_content
from airgap.errors import (
    AirgapError,
    DestinationError,
    DigestMismatchError,
    ExpiredError,
    FormatError,
    IncompleteError,
    MediaError,
    MissingContentError,
    RollbackError,
    SignatureMismatchError,
    SizeMismatchError,
    ThresholdError,
    TrustError,
    UnknownKeyError,
    UnlistedContentError,
)
from airgap.oci.digest import Digest
from airgap.progress import Silent
from airgap.site import Mark
from airgap.trust.document import Revocation, Role, RootKey
from airgap.trust.keys import SigningKey
from airgap.trust.root import SignedRoot
from tests.support.bundles import DAY, MULTI, ONE, STREAM, TWO, Gap, make_gap, sign_root, small_images
from tests.support.images import Layer, make_image

IMAGES = small_images()
BOB, OFFICER = SigningKey.generate(), SigningKey.generate("ed25519")


def check(gap: Gap, **changes) -> VerifiedBundle:
    with Folder(gap.bundle) as folder:
        return verify(folder, gap.receiver(**changes))


def mark(statement_sha256: str, serial: int = 1, epoch: int = 1):
    return lambda stream: Mark(epoch, serial, statement_sha256) if stream == STREAM else None


def check_all(gap: Gap) -> None:
    with Folder(gap.bundle) as folder:
        for error in verify_content(verify(folder, gap.receiver()), Silent(), 1):
            raise error


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


class TestOrder:
    """Two things are wrong at a time: the earlier step speaks."""

    @pytest.mark.parametrize(
        ("first", "second", "error"),
        [
            (lambda g: (g.bundle / "bundle.dsse.json").unlink(), lambda g: g.flip("index.json"), IncompleteError),
            (lambda g: g.flip("bundle.dsse.json", 12), lambda g: g.flip("statement.json"), SignatureMismatchError),
            (lambda g: g.seal(b"no JSON", BOB), lambda g: None, UnknownKeyError),
            (lambda g: g.seal(b"no JSON", payload_type="x/y"), lambda g: None, TrustError),
            (lambda g: g.restate(destinations=("x",)), lambda g: (g.bundle / "extra").write_bytes(b""), DestinationError),
            (lambda g: (g.bundle / "extra").write_bytes(b""), lambda g: g.flip("index.json"), UnlistedContentError),
            (lambda g: g.flip("index.json"), lambda g: g.flip(IMAGES[ONE].layers[1].path), DigestMismatchError),
        ],
    )  # fmt: skip
    def test_earlier(self, gap, first, second, error):
        first(gap)
        second(gap)
        with pytest.raises(error):
            check(gap)

    def test_nothing_of_the_statement_is_parsed_before_it_is_signed(self, gap, monkeypatch):
        def parse(*_):
            raise AssertionError("parsed")

        monkeypatch.setattr(module.Statement, "parse", parse)
        gap.flip("bundle.dsse.json", 12)
        with pytest.raises(SignatureMismatchError):
            check(gap)

    def test_authenticate_reads_no_other_file(self, gap):
        for path in gap.bundle.rglob("*"):
            if (
                path.is_file()
                and path.parent.name != "trust"
                and path.name not in ("bundle.dsse.json", "statement.json")
            ):
                path.unlink()
        with Folder(gap.bundle) as folder:
            assert authenticate(folder, gap.receiver()).statement.stream == STREAM


class TestFiles:
    def test_unfinished(self, gap):
        (gap.bundle / "bundle.dsse.json").rename(gap.bundle / "bundle.dsse.json.part")
        with Folder(gap.bundle) as folder, pytest.raises(IncompleteError) as caught:
            read_envelope(folder)
        assert "finish it with the `airgap pack` that began it" in caught.value.hint

    def test_the_folder_above(self, gap):
        with Folder(gap.bundle.parent) as folder, pytest.raises(IncompleteError) as caught:
            read_envelope(folder)
        assert caught.value.hint == f"give the folder of the bundle: {gap.bundle}"

    def test_another_copy_repairs_a_damaged_file(self, gap):
        gap.flip("index.json")
        with pytest.raises(DigestMismatchError) as caught:
            check(gap)
        assert caught.value.hint == module.REPAIR_HINT

    def test_another_copy_does_not_repair_an_additional_file(self, gap):
        (gap.bundle / "extra").write_bytes(b"")
        with pytest.raises(UnlistedContentError) as caught:
            check(gap)
        assert caught.value.hint != module.REPAIR_HINT

    def test_too_many(self, gap, monkeypatch):
        files = len(gap.files())
        monkeypatch.setattr(module, "MAX_BUNDLE_FILES", files)
        check(gap)
        monkeypatch.setattr(module, "MAX_BUNDLE_FILES", files - 1)
        with pytest.raises(UnlistedContentError, match="too many files") as caught:
            check(gap)
        assert caught.value.hint is None  # another copy has them too

    def test_a_file_that_grows_after_it_was_measured(self, gap):
        with Folder(gap.bundle) as folder:
            found = verify(folder, gap.receiver())
            gap.rewrite(IMAGES[ONE].layers[1].path, lambda raw: raw + b"x")
            wrong = verify_content(found, Silent(), 1)
        assert [type(error) for error in wrong] == [SizeMismatchError]


class TestContent:
    def test_all_that_is_wrong(self, gap, bundle):
        layers = sorted({layer for image in (ONE, TWO) for layer in IMAGES[image].layers})
        for layer in layers:
            gap.flip(layer.path)
        wrong = verify_content(bundle, Silent(), 2)
        assert sorted(str(error.subject) for error in wrong) == [
            f"{gap.bundle}/{layer.path}" for layer in layers
        ]

    def test_a_medium_that_fails_is_not_a_wrong_blob(self, bundle, monkeypatch):
        class Failing:
            def __init__(self, *_):
                raise MediaError("cannot read")

        monkeypatch.setattr(module, "CheckedReader", Failing)
        with pytest.raises(MediaError):
            verify_content(bundle, Silent(), 1)

    def test_progress_counts_every_byte(self, bundle):
        counted = []

        class Counting(Silent):
            def phase(self, title, total):
                counted.append((title, total))
                return super().phase(title, total)

        verify_content(bundle, Counting(), 1)
        blobs = {d: b.size for image in bundle.images for d, b in image.graph.contents.items()}
        assert counted == [("verifying", sum(blobs.values()))]


def test_every_error_is_ours(gap: Gap) -> None:
    """Whatever single file is replaced by whatever."""
    for path in sorted(Path(p) for p in gap.bundle.rglob("*") if p.is_file()):
        raw = path.read_bytes()
        for wrong in (b"", b"{}", b"[]", b"\0" * len(raw), raw * 2, raw[: len(raw) // 2]):
            path.write_bytes(wrong)
            with pytest.raises(AirgapError):
                check_all(gap)
        path.write_bytes(raw)


def test_a_layer_of_no_bytes(tmp_path: Path) -> None:
    empty = Layer(b"", "application/vnd.oci.image.layer.v1.tar", Digest.of(b""))
    gap = make_gap(tmp_path, images={ONE: make_image([empty])})
    with Folder(gap.bundle) as folder:
        assert verify_content(verify(folder, gap.receiver()), Silent(), 1) == []
