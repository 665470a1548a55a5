"""Logins: which key files are read and which refused, what is offered, and what is said when none is taken."""

import paramiko
import pytest

from airgap.endpoints.ssh.login import Identities, _public_blob, log_in
from airgap.errors import KeyFileError, LinkError, TransportError
from tests.unit.endpoints.ssh_support import KINDS, Server, hop, write


@pytest.fixture(autouse=True)
def no_agent(monkeypatch):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)


def never() -> bytes:
    raise AssertionError("asked")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("passphrase", [b"", b"open sesame", "Schlüssel".encode()])
def test_keys(tmp_path, kind, passphrase):
    path = write(tmp_path / "id", kind, passphrase)
    asked = []
    identities = Identities()
    identities.prepare([path], lambda: asked.append(1) or passphrase if passphrase else never())
    found = identities.key(path)
    assert found.get_name() == kind
    assert found.asbytes() == _public_blob(path)
    assert identities.key(path) is found
    assert len(asked) == (1 if passphrase else 0)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644, 0o660])
def test_keys_that_others_can_read(tmp_path, mode):
    with pytest.raises(
        KeyFileError, match=r"others can read the SSH key: .*, want mode 0600, got mode"
    ) as caught:
        Identities().key(write(tmp_path / "id", mode=mode))
    assert caught.value.hint.startswith("chmod 600 ")


@pytest.mark.parametrize("given", [b"wrong", b"\xff\xfe"])
def test_wrong_passphrase(tmp_path, given):
    with pytest.raises(KeyFileError, match="the SSH key cannot be opened"):
        Identities().prepare([write(tmp_path / "id", passphrase=b"right")], lambda: given)


def test_no_passphrase(tmp_path):
    path = write(tmp_path / "id", passphrase=b"right")
    for attempt in (lambda: Identities().key(path), lambda: Identities().prepare([path], lambda: b"")):
        with pytest.raises(KeyFileError, match="the SSH key is encrypted") as caught:
            attempt()
        assert "ssh-add" in caught.value.hint


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"x",
        b"\x00\xff" * 100,
        b"-----BEGIN OPENSSH PRIVATE KEY-----\n",
        b"-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----\n",
        b"-----BEGIN RSA PRIVATE KEY-----\nAAAA\n-----END RSA PRIVATE KEY-----\n",
        b"ssh-ed25519 AAAA a public one\n",
    ],
)
def test_invalid_keys_are_refused(tmp_path, raw):
    path = tmp_path / "id"
    path.write_bytes(raw)
    path.chmod(0o600)
    with pytest.raises(KeyFileError, match="not a private SSH key"):
        Identities().key(path)


def test_what_cannot_be_read(tmp_path):
    with pytest.raises(KeyFileError, match="cannot read the SSH key"):
        Identities().prepare([tmp_path / "none"], never)
    with pytest.raises(KeyFileError, match="cannot read the SSH key"):
        Identities().key(tmp_path)


@pytest.mark.parametrize("raw", [b"", b"ssh-ed25519", b"ssh-ed25519 !", b"\xff \xff"])
def test_public_halves_that_are_none(tmp_path, raw):
    (tmp_path / "id.pub").write_bytes(raw)
    assert _public_blob(tmp_path / "id") == b""
    assert _public_blob(tmp_path / "none") == b""


def test_files_are_offered_in_order(tmp_path):
    one, two = write(tmp_path / "one"), write(tmp_path / "two")
    server = Server(_public_blob(two))
    log_in(server, hop(tmp_path / "none", one, two), Identities())
    assert server.offered == [_public_blob(one), _public_blob(two)]


def test_a_file_that_cannot_be_used_is_passed_over(tmp_path):
    one, two = write(tmp_path / "one", passphrase=b"x"), write(tmp_path / "two")
    log_in(Server(_public_blob(two)), hop(one, two), Identities())
    with pytest.raises(TransportError, match=r"refused: .*two; the SSH key is encrypted: .*one"):
        log_in(Server(b"another"), hop(one, two), Identities())
    with pytest.raises(KeyFileError, match="the SSH key is encrypted"):
        log_in(Server(b"another"), hop(one), Identities())


def test_the_usual_files(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()
    with pytest.raises(TransportError, match="no key here: no agent, no key file"):
        log_in(Server(b""), hop(), Identities())
    key = write(tmp_path / ".ssh" / "id_ecdsa", "ecdsa-sha2-nistp256")
    log_in(Server(_public_blob(key)), hop(), Identities())
    with pytest.raises(TransportError, match="login failed"):
        log_in(Server(_public_blob(key)), hop(write(tmp_path / "named")), Identities())


def test_servers_that_want_more(tmp_path):
    class More(Server):
        def auth_publickey(self, user, key):
            return ["password"]

    with pytest.raises(
        TransportError, match="want login with a key alone, got the server also requires password"
    ):
        log_in(More(b""), hop(write(tmp_path / "id")), Identities())


def test_servers_that_take_no_keys(tmp_path):
    class Keyless(Server):
        def auth_publickey(self, user, key):
            raise paramiko.BadAuthenticationType("no", ["password"])

    with pytest.raises(TransportError, match="want a server that accepts keys"):
        log_in(Keyless(b""), hop(write(tmp_path / "id")), Identities())


def test_a_server_that_hangs_up(tmp_path):
    paths = [write(tmp_path / f"id{i}") for i in range(3)]
    with pytest.raises(TransportError) as caught:
        log_in(Server(b"", 2, "Too many authentication failures"), hop(*paths), Identities())
    assert str(caught.value) == (
        "login failed: carrier@plant:22, want the right key among the first ones offered, "
        f"got the server closed the connection after 2 keys: Too many authentication failures; offered: {paths[0]}, {paths[1]}"
    )
    assert "--identity FILE" in caught.value.hint
    assert "IdentitiesOnly yes" in caught.value.hint
    assert not isinstance(caught.value, LinkError), "a new connection would end in the same way"
    with pytest.raises(TransportError, match="closed the connection after 2 keys: no reason given"):
        log_in(Server(b"", 2), hop(*paths), Identities())


def test_a_link_that_breaks_at_once(tmp_path):
    with pytest.raises(
        LinkError, match=r"login failed: carrier@plant:22, want an answer, got .* after .*/id"
    ):
        log_in(Server(b"", 1), hop(write(tmp_path / "id")), Identities())


def test_a_server_that_does_not_answer(tmp_path):
    server = Server(b"")
    server.auth_timeout = 0.0
    with pytest.raises(LinkError, match="want an answer, got 0 s of silence after"):
        log_in(server, hop(write(tmp_path / "one"), write(tmp_path / "two")), Identities())
    assert len(server.offered) == 1


def test_a_key_is_offered_once(tmp_path):
    one = write(tmp_path / "one")
    (tmp_path / "same").write_bytes(one.read_bytes())
    (tmp_path / "same").chmod(0o600)
    server = Server(b"")
    with pytest.raises(TransportError, match="login failed"):
        log_in(server, hop(one, tmp_path / "same", one), Identities())
    assert server.offered == [_public_blob(one)]


def test_a_public_half_alone(tmp_path):
    public = write(tmp_path / "id").with_name("id.pub")
    assert _public_blob(public) == _public_blob(tmp_path / "id")
    with pytest.raises(KeyFileError, match=r"the ssh-agent does not hold the SSH key: .*id\.pub"):
        Identities().prepare([public], never)
