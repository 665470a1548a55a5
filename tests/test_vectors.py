"""Bundles of every released format are still read, and today's code still writes the newest one."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from airgap.bundle.files import Folder
from airgap.errors import AirgapError, DestinationError, ExpiredError, TrustError, UnknownKeyError
from airgap.offline.verify import Receiver, verify, verify_content
from airgap.progress import Silent
from airgap.trust.envelope import ROOT_TYPE, Envelope
from airgap.trust.keys import SigningKey
from airgap.trust.root import SignedRoot, new_root
from tests.vectors import make

VECTORS = make.HERE
NAMES = sorted(path.name.removesuffix(".expect.json") for path in VECTORS.glob("*.expect.json"))


def receiver(name: str, **fields: object) -> Receiver:
    raw = (VECTORS / f"{name}.root.json").read_bytes()
    time = datetime.fromisoformat(json.loads((VECTORS / f"{name}.expect.json").read_text())["time"])
    usual = {"site": "plant-7", "root": SignedRoot.parse(raw, "root"), "mark": lambda _: None, "now": time}
    return Receiver(**(usual | fields))


def test_there_are_vectors():
    assert "v1-basic" in NAMES


@pytest.mark.parametrize("name", NAMES)
def test_a_vector_is_read_as_expected(name):
    expect = json.loads((VECTORS / f"{name}.expect.json").read_text())
    who = receiver(name)
    with Folder(VECTORS / name) as folder:
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
    with Folder(VECTORS / name) as folder, pytest.raises(error):
        verify(folder, receiver(name, **fields))


@pytest.mark.parametrize("name", NAMES)
def test_one_signature_is_not_enough(name, tmp_path):
    copy = _copy(VECTORS / name, tmp_path / name)
    envelope = Envelope.parse((copy / "bundle.dsse.json").read_bytes(), "x")
    one = Envelope(envelope.payload_type, envelope.payload, envelope.signatures[:1])
    (copy / "bundle.dsse.json").write_bytes(one.to_bytes())
    with Folder(copy) as folder, pytest.raises(TrustError):
        verify(folder, receiver(name))


@pytest.mark.parametrize("name", NAMES)
def test_every_bit_counts(name, tmp_path):
    """One bit of each file in turn."""
    copy = _copy(VECTORS / name, tmp_path / name)
    for path in sorted(path for path in copy.rglob("*") if path.is_file()):
        good = path.read_bytes()
        middle = len(good) // 2
        path.write_bytes(good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :])
        with Folder(copy) as folder:
            assert not _accepted(folder, receiver(name)), path
        path.write_bytes(good)


def _accepted(folder: Folder, who: Receiver) -> bool:
    try:
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
def test_todays_code_writes_the_same_bytes():
    for name, raw in make.vector().items():
        assert (VECTORS / name).read_bytes() == raw, "python -m tests.vectors.make"
    there = {p.relative_to(VECTORS).as_posix() for p in (VECTORS / make.NAME).rglob("*") if p.is_file()}
    assert there == {name for name in make.vector() if name.startswith(f"{make.NAME}/")}
