"""The cases of TUF's conformance suite that are about other roles than root, over bundles and their loads.

The one signed statement of a bundle is timestamp, snapshot and targets at once: its epoch and serial are their
versions, the role `release` signs it, and the site's mark is the trusted version. A load is the client's
refresh and download. docs/tuf-conformance.md says of each case where its test is, or why there is none.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

import pytest

from airgap.bundle.contents import DockerView, manifest_json
from airgap.bundle.statement import PlatformRecord
from airgap.errors import (
    AirgapError,
    DigestMismatchError,
    ExpiredError,
    FormatError,
    IncompleteError,
    IntegrityError,
    MissingContentError,
    RollbackError,
    ThresholdError,
    TrustError,
    UnknownKeyError,
    UnlistedContentError,
)
from airgap.oci.digest import Digest
from airgap.offline.load_bundle import LoadReport, load_bundle
from airgap.progress import Silent
from airgap.site import Mark, Site
from airgap.trust.document import Role, RootKey, TrustRoot
from airgap.trust.envelope import ROOT_TYPE
from airgap.trust.keys import SigningKey
from tests.support.bundles import DAY, NOW, ONE, STREAM, Gap, pack_layout, sign_root, small_images
from tests.support.images import write_layout
from tests.support.memory import MemoryContent

IMAGES = small_images()
LAYER = IMAGES[ONE].layers[1]
KEYS = [SigningKey.generate() for _ in range(10)]
ROOT_KEY = SigningKey.generate()


def load(gap: Gap, target: MemoryContent | None = None, now: datetime | None = None) -> LoadReport:
    """Load the bundle; raises what is wrong, also with a single image."""
    report = load_bundle(
        gap.bundle, gap.site, target or MemoryContent(), now or gap.now,
        jobs=1, progress=Silent(),
    )  # fmt: skip
    if report.failure is not None:
        raise report.failure
    return report


def mark(gap: Gap) -> Mark | None:
    return gap.site.received(STREAM)


def released_by(gap: Gap, threshold: int, *keys: SigningKey, **fields: object) -> TrustRoot:
    """The next root, in which these keys sign bundles."""
    known = {key.public_key.keyid: RootKey(key.public_key, f"owner{n}") for n, key in enumerate(keys)}
    roles = {**gap.root.root.roles, "release": Role(frozenset(known), threshold, distinct_owners=False)}
    return replace(gap.root.root, version=2, keys={**gap.root.root.keys, **known}, roles=roles, **fields)


# -- test_non_root_rotations: keys, threshold, signers, and whether the statement is taken

ROTATIONS: dict[str, tuple[str, int, str, bool]] = {
    "1-of-1-key-rotation": ("2", 1, "2", True),
    "1-of-1-key-rotation-unused-signatures": ("1", 1, "314", True),
    "1-of-1-key-rotation-fail-not-signed-with-new-key": ("2", 1, "134", False),
    "3-of-5-one-key-signature-wrong-not-signed-with-3-expected-keys": ("01345", 3, "024", False),
    "2-of-5-one-key-signature-mising-threshold-not-reached": ("01345", 3, "04", False),
    "3-of-5-sign-first-combo": ("01234", 3, "024", True),
    "3-of-5-sign-second-combo": ("01234", 3, "041", True),
    "3-of-5-sign-third-combo": ("01234", 3, "013", True),
    "3-of-5-sign-fourth-combo": ("01234", 3, "123", True),
    "3-of-5-sign-fifth-combo": ("01234", 3, "234", True),
}


@pytest.mark.parametrize("case", ROTATIONS)
def test_non_root_rotations(gap: Gap, case: str):
    keys, threshold, signers, good = ROTATIONS[case]
    gap.put_root(released_by(gap, threshold, *(KEYS[int(n)] for n in keys)))
    gap.seal(gap.envelope.payload, *(KEYS[int(n)] for n in signers))
    if good:
        load(gap)
        assert mark(gap) == Mark(1, 1, Digest.of(gap.envelope.payload).hex)
        return
    with pytest.raises(TrustError):
        load(gap)
    assert mark(gap) is None


# -- what is refused, in a bundle that follows an accepted one


def wrong_type(gap: Gap) -> None:
    """All that a statement must be, by who may sign it, but said to be another kind of document."""
    gap.seal(gap.envelope.payload, payload_type=ROOT_TYPE)


def twice(gap: Gap) -> None:
    path = gap.bundle / "bundle.dsse.json"
    value = json.loads(path.read_bytes())
    value["signatures"].append(value["signatures"][0])
    path.write_bytes(json.dumps(value).encode())


def two_of_three(gap: Gap) -> None:
    gap.put_root(released_by(gap, 3, *KEYS[:3]))
    gap.seal(gap.envelope.payload, *KEYS[:2])


def other_case(gap: Gap) -> None:
    """The same name but for its case, which a FAT medium would not tell apart."""
    (gap.bundle / "SHA256SUMS").rename(gap.bundle / "sha256sums")


def root_key_only(gap: Gap) -> None:
    """A key that signs roots has no say in what is released, whatever it may do elsewhere."""
    known = {**gap.root.root.keys, ROOT_KEY.public_key.keyid: RootKey(ROOT_KEY.public_key, "officer")}
    own = gap.root.root.roles["root"]
    roles = {**gap.root.root.roles, "root": replace(own, keyids=own.keyids | {ROOT_KEY.public_key.keyid})}
    gap.put_root(replace(gap.root.root, version=2, keys=known, roles=roles))
    gap.seal(gap.envelope.payload, ROOT_KEY)


def another_digest(gap: Gap) -> None:
    """A layer by a hash that OCI does not register."""
    wide = str(LAYER).replace("sha256:", "sha257:")
    raw = IMAGES[ONE].raw.replace(str(LAYER).encode(), wide.encode())
    gap.put_image(raw, *(blob for d, blob in IMAGES[ONE].contents.items() if d != LAYER))


def name(text: str) -> Callable[[Gap], None]:
    """A signed list with a name that is not one of the format's."""
    return lambda gap: gap.resign(b'{"name":"VERIFY.txt"', b'{"name":"%s"' % text.encode())


EXPIRED = {"not_before": datetime.fromisoformat("2026-01-01T00:00:00Z"), "expires": datetime.fromisoformat("2026-05-31T00:00:00Z")}  # fmt: skip
REFUSED: dict[str, tuple[Callable[[Gap], object], type[AirgapError]]] = {
    **dict.fromkeys(
        [f"test_unsigned_metadata[{role}]" for role in ("timestamp", "snapshot", "targets")],
        (lambda gap: gap.seal(gap.envelope.payload, KEYS[0]), UnknownKeyError),
    ),
    "test_url_and_metadata_version_mismatch[snapshot]": (
        lambda gap: gap.rewrite("statement.json", lambda raw: raw.replace(b'"serial":2', b'"serial":3')), DigestMismatchError,
    ),
    "test_url_and_metadata_version_mismatch[targets]": (lambda gap: gap.flip("index.json"), DigestMismatchError),
    "test_timestamp_content_changes": (
        lambda gap: gap.restate(serial=1, transfer={"ticket": "another"}), RollbackError,
    ),
    "test_targets_hash_mismatch": (lambda gap: gap.flip("manifest.json"), DigestMismatchError),
    "test_snapshot_hash_mismatch": (lambda gap: gap.flip("SHA256SUMS"), DigestMismatchError),
    "test_snapshot_404": (lambda gap: (gap.bundle / "statement.json").unlink(), MissingContentError),
    "test_targets_404": (lambda gap: (gap.bundle / "index.json").unlink(), MissingContentError),
    "test_timestamp_404": (lambda gap: (gap.bundle / "bundle.dsse.json").unlink(), IncompleteError),
    "test_incorrect_metadata_type": (wrong_type, TrustError),
    **dict.fromkeys(
        [f"test_{role}_expired" for role in ("timestamp", "snapshot", "targets")],
        (lambda gap: gap.restate(**EXPIRED), ExpiredError),
    ),
    "test_snapshot_does_not_meet_threshold": (two_of_three, ThresholdError),
    "test_duplicate_sig_keyids": (twice, FormatError),
    "test_download_with_unknown_hash_algorithm": (another_digest, FormatError),
    **{f"test_unusual_role_name[{text}]": (name(text), FormatError) for text in ("?", "#", "/delegatedrole", "../delegatedrole")},
    **dict.fromkeys(
        ["test_new_timestamp_version_rollback", "test_snapshot_rollback[basic]", "test_snapshot_rollback[with hashes]",
         "test_targets_rollback[basic]", "test_targets_rollback[with hashes]"],
        (lambda gap: gap.restate(serial=1), RollbackError),
    ),
    "test_cached_role_is_verified_against_current_delegator": (root_key_only, UnknownKeyError),
    "test_delegation_not_in_snapshot": (
        lambda gap: (gap.bundle / "blobs" / "sha256" / ("0" * 64)).write_bytes(b"x"), UnlistedContentError,
    ),
    "test_targetfile_search[targetpath matching is case sensitive]": (other_case, IntegrityError),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(gap: Gap, case: str):
    """The site's mark and what it has at the target stay as they were."""
    harm, error = REFUSED[case]
    target = MemoryContent()
    gap.restate(serial=2 if "content_changes" not in case else 1)
    load(gap, target)
    before = mark(gap), dict(target.names), dict(target.contents)
    gap.restate(serial=3 if "mismatch[snapshot]" not in case else 2)
    harm(gap)
    with pytest.raises(error):
        load(gap, target)
    assert (mark(gap), dict(target.names), dict(target.contents)) == before


def test_delegations_are_refused(gap: Gap):
    """Of the cases on delegated roles this is what is left: there are none, and no statement brings any."""
    roles = b'"delegations":{"keys":{},"roles":[]},'
    gap.resign(b'"total_bytes":', roles + b'"total_bytes":')
    with pytest.raises(FormatError, match="delegations"):
        load(gap)


def test_basic_refresh_trusted_data(gap: Gap):
    root = released_by(gap, 1, gap.key)
    gap.put_root(root)
    load(gap)
    assert gap.site.root().raw == sign_root(root, gap.key)
    assert mark(gap) == Mark(1, 1, Digest.of((gap.bundle / "statement.json").read_bytes()).hex)


def test_basic_metadata_hash_support(gap: Gap):
    """Every file of a bundle is listed with its hash, always."""
    assert set(gap.statement.subjects) == set(gap.files()) - {
        "bundle.dsse.json", "statement.json", *(each for each in gap.files() if each.startswith("sig/")),
    }  # fmt: skip
    load(gap)


def test_metadata_bytes_match(gap: Gap):
    """What is kept are the bytes that came. There is one spelling of a root, so no other is taken."""
    raw = sign_root(released_by(gap, 1, gap.key), gap.key)
    gap.forge({"trust/2.root.json": raw.replace(b'","', b'" ,\n"') + b" "}, root_version=2)
    with pytest.raises(FormatError, match="not in canonical form"):
        load(gap)
    gap.forge({"trust/2.root.json": raw}, root_version=2)
    load(gap)
    assert gap.site.root().raw == raw


def test_faketime(gap: Gap):
    """Time is an argument: the same bundle and root are good now, and refused when the root has expired."""
    load(gap)
    gap.restate(expires=gap.root.root.expires + 9 * DAY)
    with pytest.raises(ExpiredError, match="trust root has expired"):
        load(gap, now=gap.root.root.expires + DAY)


def test_expired_local_timestamp(gap: Gap):
    """The last bundle that came has expired long since; the next one is taken all the same."""
    load(gap)
    later = gap.statement.expires + 30 * DAY
    gap.restate(serial=2, expires=later + DAY)
    load(gap, now=later)
    accepted = mark(gap)
    assert accepted is not None
    assert accepted.serial == 2


KEPT_ROOT: dict[str, tuple[dict[str, object], Callable[[Gap], object], type[AirgapError]]] = {
    "test_root_expired": ({"expires": NOW - DAY}, lambda gap: None, ExpiredError),
    "test_implicit_refresh": ({}, lambda gap: gap.blob(LAYER).unlink(), MissingContentError),
    **dict.fromkeys(
        [f"test_unsigned_metadata[{role}]" for role in ("timestamp", "snapshot", "targets")],
        ({}, lambda gap: gap.seal(gap.envelope.payload, KEYS[0]), UnknownKeyError),
    ),
}


@pytest.mark.parametrize("case", KEPT_ROOT)
def test_root_is_kept(gap: Gap, case: str):
    """A root that follows is trusted from then on (TUF 5.3.8), whatever is said of the bundle that brought it."""
    fields, harm, error = KEPT_ROOT[case]
    gap.put_root(released_by(gap, 1, gap.key, **fields))
    harm(gap)
    with pytest.raises(error):
        load(gap)
    assert (gap.site.root().root.version, mark(gap)) == (2, None)


@pytest.mark.parametrize("role", ["targets", "new_snapshot", "new_timestamp"])
def test_fast_forward_recovery(gap: Gap, role: str):
    """A new epoch of the root starts serials again: there is one series of them, so there is one recovery."""
    gap.restate(serial=100)
    load(gap)
    gap.restate(serial=1)
    with pytest.raises(RollbackError):
        load(gap)
    gap.put_root(replace(gap.root.root, version=2, epoch=2))
    gap.restate(serial=1, epoch=2)
    load(gap)
    accepted = mark(gap)
    assert accepted is not None
    assert (accepted.epoch, accepted.serial) == (2, 1)


# -- downloads


def test_client_downloads_expected_file(gap: Gap):
    """Every name and every byte; blobs are in folders below folders."""
    target = MemoryContent()
    load(gap, target)
    assert target.names == {text: image.descriptor.digest for text, image in IMAGES.items()}
    found = {d.path: raw for d, raw in target.contents.items()}
    assert found == {each: raw for each, raw in gap.files().items() if each.startswith("blobs/sha256/")}


def substitute(gap: Gap) -> bytes:
    path = gap.blob(LAYER)
    raw = path.read_bytes()
    path.write_bytes(b"malicious".ljust(len(raw), b"!"))
    return raw


def test_repository_substitutes_target_file(gap: Gap):
    target = MemoryContent()
    substitute(gap)
    with pytest.raises(AirgapError):
        load(gap, target)
    assert LAYER not in target.contents
    assert ONE not in target.names


def test_multiple_changes_to_target(gap: Gap):
    """Bundle after bundle: the honest one is taken, the same with other content is not."""
    for serial in range(1, 4):
        gap.restate(serial=serial, transfer={"ticket": f"{serial}"})
        target = MemoryContent()
        good = substitute(gap)
        with pytest.raises(AirgapError):
            load(gap, target)
        assert LAYER not in target.contents
        gap.blob(LAYER).write_bytes(good)
        load(gap, target)
        assert target.contents[LAYER] == good


def wide_image(gap: Gap) -> Digest:
    """Let the bundle have one image, of which one layer is named by SHA-512; and listed by SHA-256, as all are."""
    one = IMAGES[ONE]
    raw = one.contents[LAYER]
    wide = Digest.of(raw, "sha512")
    manifest = one.raw.replace(str(LAYER).encode(), str(wide).encode())
    assert one.config is not None
    config, base = one.contents[one.config], one.contents[one.layers[0]]
    platforms = (PlatformRecord("linux/amd64", Digest.of(manifest), one.config),)
    view = DockerView(gap.statement.images[0].name, one.config.path, (one.layers[0].path, wide.path))
    gap.put_image(
        manifest, config, base, platforms=platforms, view=manifest_json([view]), extra={wide.path: raw}
    )
    return wide


HASHES = {
    "hashes0": (lambda gap: LAYER, lambda gap, layer: substitute(gap)),
    "hashes1": (wide_image, lambda gap, layer: gap.flip(layer.path)),
    "hashes2": (wide_image, lambda gap, layer: gap.forge({layer.path: b"x" * 512})),
}
"""SHA-256 alone, SHA-512, and both: then who can sign lists content of another SHA-512."""


@pytest.mark.parametrize("case", HASHES)
def test_download_with_hash_algorithms(gap: Gap, case: str):
    make, harm = HASHES[case]
    layer = make(gap)
    target = MemoryContent()
    load(gap, target)
    assert target.contents[layer] == IMAGES[ONE].contents[LAYER]
    harm(gap, layer)
    gap.restate(serial=2)
    with pytest.raises(AirgapError):
        load(gap, target := MemoryContent())
    assert layer not in target.contents


def test_artifact_cache(gap: Gap):
    target = MemoryContent()
    load(gap, target)
    assert {str(result.verdict) for result in load(gap, target).results} == {"already there"}


def test_targets_role_removal(gap: Gap):
    """An image that a later bundle leaves out is not withdrawn: a load removes no name."""
    target = MemoryContent()
    load(gap, target)
    layout = write_layout(gap.folder / "fewer", {ONE: IMAGES[ONE]})
    fewer = pack_layout(layout, Site(gap.folder / "online"), gap.key, gap.folder / "more", now=gap.now)
    next_one = replace(gap, bundle=fewer)
    assert (next_one.statement.serial, len(next_one.statement.images)) == (2, 1)
    load(next_one, target)
    assert set(target.names) == set(IMAGES)


CASES = {
    *(f"test_non_root_rotations[{case}]" for case in ROTATIONS), *REFUSED, *KEPT_ROOT,
    *(f"test_{role}_fast_forward_recovery" for role in ("targets", "new_snapshot", "new_timestamp")),
    "test_basic_refresh_trusted_data", "test_basic_metadata_hash_support", "test_metadata_bytes_match", "test_faketime",
    "test_expired_local_timestamp", "test_client_downloads_expected_file", "test_client_downloads_expected_file_in_sub_dir",
    "test_repository_substitutes_target_file", "test_multiple_changes_to_target", "test_artifact_cache",
    *(f"test_download_with_hash_algorithms[{case}]" for case in HASHES),
    "test_targets_role_removal",
}  # fmt: skip
"""The cases that this module runs."""
