"""Bundles of every released format are still read, and today's code still writes the newest one."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from airgap.bundle.volumes import VolumeSet, open_bundle
from airgap.carry.receiver import Receiver
from airgap.carry.verify import verify, verify_content
from airgap.errors import (
    AirgapError,
    AmbiguousError,
    DestinationError,
    DigestMismatchError,
    ExpiredError,
    IncompleteError,
    MissingContentError,
    RecalledError,
    SizeMismatchError,
    TrustError,
    UnknownKeyError,
    UnlistedContentError,
)
from airgap.oci.digest import Digest
from airgap.progress import Silent
from airgap.trust.envelope import ROOT_TYPE, Envelope
from airgap.trust.keys import SigningKey
from airgap.trust.root import SignedRoot, new_root
from tests.support.bundles import make_gap
from tests.support.volumes import Volumes, cut_over, in_turn, layers_in, noisy_images
from tests.vectors import make

VECTORS = make.HERE
NAMES = sorted(path.name.removesuffix(".expect.json") for path in VECTORS.glob("*.expect.json"))


def receiver(name: str, **fields: object) -> Receiver:
    raw = (VECTORS / f"{name}.root.json").read_bytes()
    time = datetime.fromisoformat(json.loads((VECTORS / f"{name}.expect.json").read_text())["time"])
    usual = {"site": "plant-7", "root": SignedRoot.parse(raw, "root"), "mark": lambda _: None, "now": time}
    return Receiver(**(usual | fields))


def place_of(vector: Path) -> tuple[Path, ...]:
    """The folder of a bundle, or the folders of its volumes."""
    return tuple(sorted(vector.glob("*.v*"))) or (vector,)


def test_there_are_vectors():
    assert {"v1-basic", "v1-recalled", "v1-volumes"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_vector_is_read_as_expected(name):
    expect = json.loads((VECTORS / f"{name}.expect.json").read_text())
    who = receiver(name)
    with open_bundle(place_of(VECTORS / name)) as folder:
        bundle = verify(folder, who)
        assert verify_content(bundle, Silent(), 1) == []
    assert who.root.fingerprint == expect["root_sha256"]
    assert bundle.statement_sha256 == expect["statement_sha256"]
    assert sorted(bundle.verdict.keyids) == expect["keys"]
    assert sorted(bundle.verdict.owners) == expect["owners"]
    assert {str(i.name): str(i.record.digest) for i in bundle.images} == expect["images"]


def strangers_root() -> SignedRoot:
    key, site = SigningKey.generate("ed25519"), SigningKey.generate("ed25519")
    root = new_root("eve", key.public_key, "hq", site.public_key, expires=datetime(2028, 1, 1, tzinfo=UTC))
    return SignedRoot.parse(Envelope.sign(ROOT_TYPE, root.to_bytes(), [key]).to_bytes(), "root")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"site": "plant-8"}, DestinationError),
        ({"now": datetime(2026, 1, 1, tzinfo=UTC)}, ExpiredError),
        ({"now": datetime(2027, 1, 1, tzinfo=UTC)}, ExpiredError),
        ({"now": datetime(2029, 1, 1, tzinfo=UTC)}, ExpiredError),
        ({"root": strangers_root()}, UnknownKeyError),
    ],
)
def test_a_vector_is_refused_elsewhere(name, fields, error):
    with open_bundle(place_of(VECTORS / name)) as folder, pytest.raises(error):
        verify(folder, receiver(name, **fields))


@pytest.mark.parametrize("name", NAMES)
def test_one_signature_is_not_enough(name, tmp_path):
    copy = _copy(VECTORS / name, tmp_path / name)
    for place in place_of(copy):
        envelope = Envelope.parse((place / "bundle.dsse.json").read_bytes(), "x")
        one = Envelope(envelope.payload_type, envelope.payload, envelope.signatures[:1])
        (place / "bundle.dsse.json").write_bytes(one.to_bytes())
    with open_bundle(place_of(copy)) as folder, pytest.raises(TrustError):
        verify(folder, receiver(name))


@pytest.mark.parametrize("name", NAMES)
def test_every_bit_counts(name, tmp_path):
    """One bit of each file in turn."""
    copy = _copy(VECTORS / name, tmp_path / name)
    for path in sorted(path for path in copy.rglob("*") if path.is_file()):
        good = path.read_bytes()
        middle = len(good) // 2
        path.write_bytes(good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :])
        assert not _accepted(copy, receiver(name)), path
        path.write_bytes(good)
    assert _accepted(copy, receiver(name))


def _accepted(vector: Path, who: Receiver) -> bool:
    try:
        with open_bundle(place_of(vector)) as folder:
            return verify_content(verify(folder, who), Silent(), 1) == []
    except AirgapError:
        return False


def _copy(source: Path, target: Path) -> Path:
    for path in source.rglob("*"):
        if path.is_file():
            place = target / path.relative_to(source)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(path.read_bytes())
    return target


def has_deterministic_ecdsa() -> bool:
    try:
        ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
    except (TypeError, UnsupportedAlgorithm):
        return False
    return True


@pytest.mark.skipif(not has_deterministic_ecdsa(), reason="signatures differ each time")
@pytest.mark.parametrize("name", [make.BASIC, make.VOLUMES, make.RECALLED])
def test_todays_code_writes_the_same_bytes(name):
    made = make.vector(name)
    for file, raw in made.items():
        assert (VECTORS / file).read_bytes() == raw, "python -m tests.vectors.make"
    there = {p.relative_to(VECTORS).as_posix() for p in (VECTORS / name).rglob("*") if p.is_file()}
    assert there == {file for file in made if file.startswith(f"{name}/")}


# -- recalls


def test_a_bundle_brings_the_recall_of_another_one():
    with open_bundle(place_of(VECTORS / make.RECALLED)) as folder:
        (second,) = verify(folder, receiver(make.RECALLED)).newer_roots
    [recall] = second.root.recalled
    assert (recall.title, recall.reason) == ("v1-basic-0001", make.REASON)
    with open_bundle(place_of(VECTORS / make.BASIC)) as folder, pytest.raises(RecalledError, match="TEST-2"):
        verify(folder, receiver(make.BASIC, root=second))


# -- volumes

CUT = "v1-volumes"
PART = make.PARTED.path


@pytest.fixture
def volumes(tmp_path) -> Volumes:
    return Volumes(place_of(_copy(VECTORS / CUT, tmp_path)))


@pytest.fixture(scope="module")
def foreign(tmp_path_factory) -> Volumes:
    """Volumes of another bundle."""
    gap = make_gap(tmp_path_factory.mktemp("gap"), images=noisy_images())
    places = in_turn(layers_in(gap.bundle), 3)
    return cut_over(gap.bundle, tmp_path_factory.mktemp("cut"), places, of=3)


def test_the_cut_is_as_an_implementer_of_the_format_makes_it(tmp_path):
    """`cut_over` is written from FORMAT.md §2.5 alone."""
    whole = tmp_path / f"{CUT}-0001"
    for path in place_of(VECTORS / CUT):
        _copy(path, whole)
    parts = sorted(whole.glob("blobs/*/*.[0-9][0-9][0-9]"))
    (whole / PART).write_bytes(b"".join(part.read_bytes() for part in parts))
    for path in (*parts, whole / "volume.json"):
        path.unlink()
    places = {digest.path: list(parts) for digest, parts in make.PLACES.items()}
    made = cut_over(whole, tmp_path / "cut", places, of=3)
    for ours, theirs in zip(place_of(VECTORS / CUT), made.folders, strict=True):
        assert _files(ours) == _files(theirs)
        assert ours.name == theirs.name


def _files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("order", [(1, 2, 3), (3, 1, 2), (2, 3, 1)])
def test_volumes_are_read_in_any_order_and_by_any_name(volumes, tmp_path, order):
    paths = [volumes[number].rename(tmp_path / f"stick {number * 7 % 5}") for number in order]
    with VolumeSet(paths) as found:
        assert verify_content(verify(found, receiver(CUT)), Silent(), 1) == []


@pytest.mark.parametrize("missing", [1, 2, 3])
def test_a_missing_volume_is_named(volumes, missing):
    paths = [volumes[number] for number in (1, 2, 3) if number != missing]
    with pytest.raises(IncompleteError, match="a volume is missing") as raised:
        open_bundle(paths)
    assert raised.value.want == f"volume {missing} of 3"


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_volume_is_proved_alone_but_for_the_layers_elsewhere(volumes, number):
    with open_bundle((volumes[number],), alone=True) as found:
        bundle = verify(found, receiver(CUT))
        with pytest.raises(IncompleteError):
            verify_content(bundle, Silent(), 1)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_volume_of_another_bundle_is_refused(volumes, foreign, number):
    paths = [foreign[n] if n == number else volumes[n] for n in (1, 2, 3)]
    with pytest.raises(IncompleteError, match="the volume belongs to another bundle"):
        open_bundle(paths)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_foreign_volume_that_claims_to_be_ours_is_refused(volumes, foreign, number):
    """Nobody has to sign a table: all it says may be what we expect."""
    table = (volumes[number] / "volume.json").read_bytes()
    copy = foreign.copy(volumes[1].parent / "foreign")
    (copy[number] / "volume.json").write_bytes(table)
    paths = [copy[n] if n == number else volumes[n] for n in (1, 2, 3)]
    with open_bundle(paths) as found, pytest.raises(AirgapError):
        verify(found, receiver(CUT))


def _flip(path: Path) -> None:
    raw = path.read_bytes()
    path.write_bytes(bytes([raw[0] ^ 1]) + raw[1:])


HARMS = {
    "gone": (Path.unlink, MissingContentError),
    "shorter": (lambda path: path.write_bytes(path.read_bytes()[:-1]), SizeMismatchError),
    "longer": (lambda path: path.write_bytes(path.read_bytes() + b"0"), SizeMismatchError),
    "whole beside it": (lambda path: path.with_suffix("").write_bytes(b"x"), UnlistedContentError),
    "one part more": (lambda path: path.with_suffix(".004").write_bytes(b"x"), UnlistedContentError),
}


@pytest.mark.parametrize("part", range(4))
@pytest.mark.parametrize("harm", HARMS)
def test_a_share_that_is_not_as_the_table_says_is_refused(volumes, part, harm):
    change, error = HARMS[harm]
    change(volumes.part(PART, part))
    with open_bundle(volumes.folders) as found, pytest.raises(error):
        verify(found, receiver(CUT))


@pytest.mark.parametrize("part", range(4))
def test_a_harmed_part_is_named(volumes, part):
    path = volumes.part(PART, part)
    _flip(path)
    with open_bundle(volumes.folders) as found:
        (wrong,) = verify_content(verify(found, receiver(CUT)), Silent(), 1)
    assert isinstance(wrong, DigestMismatchError)
    assert wrong.subject == str(path)


@pytest.mark.parametrize("part", range(4))
def test_a_harmed_part_with_a_table_that_agrees_is_refused(volumes, part):
    """The table is not signed: the digest of the whole is what counts."""
    path = volumes.part(PART, part)
    _flip(path)
    sha256 = Digest.of(path.read_bytes()).hex

    def agree(table):
        (entry,) = (each for each in table["blobs"] if each["blob"] == str(make.PARTED))
        entry["parts"][part]["sha256"] = sha256

    volumes.retable(agree)
    with open_bundle(volumes.folders) as found:
        (wrong,) = verify_content(verify(found, receiver(CUT)), Silent(), 1)
    assert isinstance(wrong, DigestMismatchError)
    assert str(make.PARTED) in str(wrong.want)


def test_a_table_of_another_cut_is_refused(volumes):
    def swap(table):
        (entry,) = (each for each in table["blobs"] if len(each["parts"]) > 1)
        entry["parts"][2]["size"] += 1
        entry["parts"][3]["size"] -= 1

    volumes.retable(swap, 3)
    with pytest.raises(AmbiguousError, match="different cuts"):
        open_bundle(volumes.folders)
