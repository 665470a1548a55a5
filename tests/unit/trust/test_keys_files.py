"""Files that hold private keys."""

import os

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from airgap.errors import KeyFileError
from airgap.trust.keys import SigningKey
from tests.unit.trust.keys_support import EACH_ALGORITHM, PEM, PKCS8, PLAIN, never, openssl
from tests.unit.trust.support import key

# -- key files -------------------------------------------------------------------------------------


@EACH_ALGORITHM
@pytest.mark.parametrize("passphrase", [None, b"correct horse", "pässwörd".encode()])
def test_saves_and_loads(algorithm, passphrase, tmp_path):
    path, signer = tmp_path / "key.pem", key("alice", algorithm)
    signer.save(path, passphrase)
    assert path.stat().st_mode & 0o777 == 0o600
    assert (b"ENCRYPTED" in path.read_bytes()) is (passphrase is not None)
    loaded = SigningKey.load(path, never if passphrase is None else lambda: passphrase)
    assert loaded.public_key == signer.public_key
    assert signer.public_key.verify(b"message", loaded.sign(b"message"))


def test_loads_what_openssl_makes(tmp_path):
    path = tmp_path / "key.pem"
    assert (
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", path).returncode
        == 0
    )
    path.chmod(0o600)
    assert SigningKey.load(path, never).public_key.algorithm == "ecdsa-p256"


def test_never_overwrites(tmp_path):
    path = tmp_path / "key.pem"
    path.write_bytes(b"the old key")
    with pytest.raises(KeyFileError, match="a key is never overwritten"):
        key("alice").save(path, None)
    assert path.read_bytes() == b"the old key"


def test_does_not_write_through_a_dangling_link(tmp_path):
    (tmp_path / "link.pem").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(KeyFileError, match="a key is never overwritten"):
        key("alice").save(tmp_path / "link.pem", None)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("passphrase", [b"", b"x" * 2000])
def test_refuses_unusable_passphrases(passphrase, tmp_path):
    with pytest.raises(KeyFileError, match="unusable passphrase"):
        key("alice").save(tmp_path / "key.pem", passphrase)
    assert not (tmp_path / "key.pem").exists()


def _write(path, raw, mode=0o600):
    path.write_bytes(raw)
    path.chmod(mode)


def _plain() -> bytes:
    return key("alice")._private.private_bytes(PEM, PKCS8, PLAIN)


def _private(private) -> bytes:
    return private.private_bytes(PEM, PKCS8, PLAIN)


BAD_FILES = {
    "missing": (lambda p: None, "got No such file"),
    "readable by others": (lambda p: _write(p, _plain(), 0o644), "want mode 0600, got mode 0644"),
    "readable by the group": (lambda p: _write(p, _plain(), 0o640), "got mode 0640"),
    "writable by the group": (lambda p: _write(p, _plain(), 0o620), "got mode 0620"),
    "writable by others": (lambda p: _write(p, _plain(), 0o602), "got mode 0602"),
    "directory": (lambda p: p.mkdir(mode=0o700), "want a regular file"),
    "pipe": (lambda p: os.mkfifo(p, 0o600), "want a regular file"),
    "empty": (lambda p: _write(p, b""), "not a usable private key"),
    "garbage": (lambda p: _write(p, b"\0\xff" * 100), "not a usable private key"),
    "too large": (lambda p: _write(p, _plain() + b"\n" * (64 << 10)), "key file too large"),
    "cut": (lambda p: _write(p, _plain()[:-40]), "not a usable private key"),
    "public key": (lambda p: _write(p, key("alice").public_key.pem.encode()), "not a usable private key"),
    "RSA": (
        lambda p: _write(p, _private(rsa.generate_private_key(65537, 2048))),
        r"unsupported kind of key \(RSA\)",
    ),
    "P-521": (lambda p: _write(p, _private(ec.generate_private_key(ec.SECP521R1()))), "secp521r1"),
}


@pytest.mark.parametrize(("make", "message"), BAD_FILES.values(), ids=BAD_FILES)
def test_refuses_key_files(make, message, tmp_path):
    path = tmp_path / "key.pem"
    make(path)
    with pytest.raises(KeyFileError, match=message) as caught:
        SigningKey.load(path, never)
    assert caught.value.exit_code == 13
    assert caught.value.subject == path


def test_refuses_a_link_to_a_good_key(tmp_path):
    key("alice").save(tmp_path / "key.pem", None)
    (tmp_path / "link.pem").symlink_to(tmp_path / "key.pem")
    with pytest.raises(KeyFileError, match="a symbolic link"):
        SigningKey.load(tmp_path / "link.pem", never)


@pytest.mark.parametrize("passphrase", [b"", b"wrong", b"x" * 2000])
def test_refuses_a_wrong_passphrase(passphrase, tmp_path):
    key("alice").save(tmp_path / "key.pem", b"right")
    with pytest.raises(KeyFileError, match="cannot decrypt the key file") as caught:
        SigningKey.load(tmp_path / "key.pem", lambda: passphrase)
    assert "passphrase is wrong" in caught.value.hint
    assert "right" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "not a usable private key: .*, got Curve .* is not supported"),
        (("-aes256", "-pass", "pass:right"), "cannot decrypt the key file"),
    ],
)
def test_refuses_a_key_on_a_curve_that_cryptography_does_not_have(options, message, tmp_path):
    curve = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:sect283k1")
    assert openssl("genpkey", *curve, *options, "-out", tmp_path / "key.pem").returncode == 0
    (tmp_path / "key.pem").chmod(0o600)
    with pytest.raises(KeyFileError, match=message):
        SigningKey.load(tmp_path / "key.pem", lambda: b"right")


def test_refuses_an_encrypted_key_of_another_kind(tmp_path):
    raw = rsa.generate_private_key(65537, 2048).private_bytes(
        PEM, PKCS8, serialization.BestAvailableEncryption(b"right")
    )
    _write(tmp_path / "key.pem", raw)
    with pytest.raises(KeyFileError, match=r"unsupported kind of key \(RSA\)"):
        SigningKey.load(tmp_path / "key.pem", lambda: b"right")
