"""Keys in files, and servers that hear of keys, for the tests of logins."""

import paramiko
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from airgap.endpoints.ssh.config import Hop

KINDS = {
    "ssh-ed25519": ed25519.Ed25519PrivateKey.generate,
    "ecdsa-sha2-nistp256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ssh-rsa": lambda: rsa.generate_private_key(65537, 2048),
}


def write(path, kind: str = "ssh-ed25519", passphrase: bytes = b"", mode: int = 0o600):
    key = KINDS[kind]()
    seal = NoEncryption()
    if passphrase:  # one round of bcrypt, where ssh-keygen takes 16 or 24: the time of a guess
        seal = PrivateFormat.OpenSSH.encryption_builder().kdf_rounds(1).build(passphrase)
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, seal))
    path.chmod(mode)
    public = key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    path.with_name(path.name + ".pub").write_bytes(public + b" a comment\n")
    return path


class Server:
    """Takes one key, and hears of all; it hangs up at the last of `tries`."""

    auth_timeout = 120.0

    def __init__(self, wanted: bytes, tries: int = 100, disconnect_message: str = "") -> None:
        self.wanted = wanted
        self.tries = tries
        self.disconnect_message = disconnect_message
        self.offered: list[bytes] = []

    def is_active(self) -> bool:
        return len(self.offered) < self.tries

    def auth_publickey(self, user: str, key) -> list[str]:
        assert user == "carrier"
        self.offered.append(key.asbytes())
        signature = paramiko.util.asbytes(key.sign_ssh_data(b"data"))  # as paramiko, before it hears more
        if self.is_active() and key.asbytes() == self.wanted and signature:
            return []
        raise paramiko.AuthenticationException("Authentication failed.")


def hop(*identities, only: bool = False) -> Hop:
    return Hop(
        host="plant", port=22, user="carrier", known_as="plant", known_hosts=(),
        identities=identities, identities_only=only,
    )  # fmt: skip
