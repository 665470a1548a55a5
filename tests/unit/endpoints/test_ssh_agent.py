"""Agents that die, hang, lie or refuse: what is left of their keys, and what a login makes of it."""

import base64
import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from airgap.endpoints.ssh import agent as module
from airgap.endpoints.ssh.agent import Agent
from airgap.endpoints.ssh.login import Identities, _public_blob, log_in
from airgap.errors import TransportError
from tests.unit.endpoints.ssh_support import Server, hop, write

FAILURE = b"\x05"


def string(raw: bytes) -> bytes:
    return struct.pack(">I", len(raw)) + raw


def public(seed: int) -> bytes:
    key = ed25519.Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32).public_key()
    return string(b"ssh-ed25519") + string(key.public_bytes(Encoding.Raw, PublicFormat.Raw))


def listing(*keys: tuple[bytes, bytes], count: int | None = None) -> bytes:
    held = b"".join(string(blob) + string(comment) for blob, comment in keys)
    return b"\x0c" + struct.pack(">I", len(keys) if count is None else count) + held


@pytest.fixture
def serve(tmp_path, monkeypatch) -> Iterator[Callable[..., None]]:
    """Makes an agent that gives these answers, one a question, and then hangs up or says nothing more."""
    with contextlib.ExitStack() as stack:
        done = threading.Event()

        def start(*answers: bytes, hang: bool = False) -> None:
            path = tmp_path / "agent"
            listening = stack.enter_context(socket.socket(socket.AF_UNIX))
            listening.bind(str(path))
            listening.listen()
            monkeypatch.setenv("SSH_AUTH_SOCK", str(path))

            def answer() -> None:
                with contextlib.suppress(OSError), listening.accept()[0] as connection:
                    listening.close()
                    for raw in answers:
                        connection.recv(65536)
                        connection.sendall(raw)
                    if hang:
                        done.wait(120)

            thread = threading.Thread(target=answer, daemon=True)
            thread.start()
            stack.callback(thread.join, 10)
            stack.callback(done.set)

        yield start


def test_without_one(monkeypatch):
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)
    with Agent() as agent:
        assert (agent.keys, agent.trouble) == ((), "")


def test_one_that_has_gone(tmp_path, monkeypatch):
    monkeypatch.setenv("SSH_AUTH_SOCK", str(tmp_path / "gone"))
    with Agent() as agent:
        assert agent.keys == ()
        assert agent.trouble == f"cannot be reached at {tmp_path}/gone: No such file or directory"


def test_its_keys(serve):
    serve(string(listing((public(1), b"one"), (public(2), b"Schl\xfcssel"))))
    with Agent() as agent:
        assert [key.asbytes() for key in agent.keys] == [public(1), public(2)]
        assert [key.comment for key in agent.keys] == ["one", "Schl\ufffdssel"]
        assert agent.trouble == ""


@pytest.mark.parametrize("odd", [b"", b"\xff" * 40, string(b"ssh-ed25519") + b"\xff\xff", string(b"\xff")])
def test_an_invalid_key_does_not_affect_the_others(serve, odd):
    serve(string(listing((odd, b"odd"), (public(1), b"good"))))
    with Agent() as agent:
        assert [key.asbytes() for key in agent.keys if key.comment == "good"] == [public(1)]


@pytest.mark.parametrize(
    ("answer", "want"),
    [
        (b"", "it closed the connection"),
        (b"\0\0", "it closed the connection"),
        (b"\0\0\0\0", "the answer is not from an ssh-agent"),
        (b"\xff\xff\xff\xff", "the answer is not from an ssh-agent"),
        (string(FAILURE), "the answer is not from an ssh-agent"),
        (string(listing(count=0xFFFFFFFF)), "the answer is not from an ssh-agent"),
        (b"HTTP/1.0 400 Bad Request\r\n\r\n", "the answer is not from an ssh-agent"),
        (string(listing((public(1), b"")))[:-9], "it closed the connection"),
    ],
)
def test_answers_that_are_none(serve, answer, want):
    serve(answer)
    with Agent() as agent:
        assert (agent.keys, agent.trouble) == ((), want)


def test_an_agent_that_does_not_answer(serve, monkeypatch):
    monkeypatch.setattr(module, "AGENT_LIST_SECONDS", 0.2)
    serve(hang=True)
    with Agent() as agent:
        assert (agent.keys, agent.trouble) == ((), "no answer")


def test_a_signature(serve):
    serve(string(listing((public(1), b"one"))), string(b"\x0e" + string(b"signature")))
    with Agent() as agent:
        [key] = agent.keys
        assert key.sign_ssh_data(b"data") == b"signature"
        assert key.trouble == ""


def test_a_refusal_concerns_one_key(serve):
    serve(string(listing((public(1), b"one"))), string(FAILURE), string(b"\x0e" + string(b"signature")))
    with Agent() as agent:
        [key] = agent.keys
        assert bytes(key.sign_ssh_data(b"data").asbytes()) == b""
        assert "cannot be used for signing" in key.trouble
        assert agent.trouble == ""
        assert key.sign_ssh_data(b"data") == b"signature"


@pytest.mark.parametrize(
    ("answers", "hang", "want"), [((), False, "it closed the connection"), ((), True, "no answer")]
)
def test_one_that_dies_is_not_asked_again(serve, monkeypatch, answers, hang, want):
    monkeypatch.setattr(module, "AGENT_SIGN_SECONDS", 0.2)
    serve(string(listing((public(1), b"one"), (public(2), b"two"))), *answers, hang=hang)
    with Agent() as agent:
        for key in agent.keys:
            assert bytes(key.sign_ssh_data(b"data").asbytes()) == b""
            assert key.trouble == agent.trouble
        assert agent.trouble in {want, "Broken pipe", "Connection reset by peer"}


# -- logins


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / ".ssh").mkdir()


SIGNED = string(b"\x0e" + string(b"signature"))


def test_a_broken_agent_is_passed_over(serve, tmp_path):
    key = write(tmp_path / "id")
    identities = Identities()
    serve(string(FAILURE))
    identities.prepare([key], lambda: b"")
    log_in(Server(_public_blob(key)), hop(key), identities)


def test_a_broken_agent_is_named_when_nothing_else_helps(serve, tmp_path):
    serve(string(FAILURE))
    with pytest.raises(TransportError, match="got the ssh-agent: the answer is not from an ssh-agent"):
        log_in(Server(b""), hop(), Identities())
    locked = write(tmp_path / "id", passphrase=b"x")
    with pytest.raises(
        TransportError, match=r"the ssh-agent: cannot be reached at .*; the SSH key is encrypted"
    ):
        log_in(Server(b""), hop(locked), Identities())


def test_a_key_that_is_not_signed_with_is_passed_over(serve):
    serve(string(listing((public(1), b"one"), (public(2), b"two"))), string(FAILURE), SIGNED)
    server = Server(public(2))
    log_in(server, hop(), Identities())
    assert server.offered == [public(1), public(2)]


def test_keys_that_the_agent_did_not_sign_with_are_named(serve):
    serve(string(listing((public(1), b"one"), (public(2), b"two"))), string(FAILURE), SIGNED)
    server = Server(b"")
    with pytest.raises(
        TransportError,
        match=r"got refused: two \(agent\); not signed by the ssh-agent: one \(agent\): key cannot",
    ):
        log_in(server, hop(), Identities())


def test_the_keys_of_an_agent_that_died_are_not_offered(serve, tmp_path):
    serve(string(listing((public(1), b"one"), (public(2), b"two"))))
    key = write(tmp_path / ".ssh" / "id_ed25519")
    server = Server(_public_blob(key))
    log_in(server, hop(), Identities())
    assert server.offered == [public(1), _public_blob(key)]


def test_identities_only_takes_the_usual_files_from_the_agent(serve, tmp_path):
    usual = write(tmp_path / ".ssh" / "id_ed25519", passphrase=b"locked")
    blob = _public_blob(usual)
    serve(string(listing((public(1), b"other"), (blob, b"usual"))), SIGNED)
    server = Server(blob)
    log_in(server, hop(only=True), Identities())
    assert server.offered == [blob]


def test_a_public_half_names_a_key_of_the_agent(serve, tmp_path):
    (tmp_path / "id.pub").write_bytes(b"ssh-ed25519 " + base64.b64encode(public(2)) + b" comment\n")
    serve(string(listing((public(1), b"one"), (public(2), b"two"))), SIGNED)
    server = Server(public(2))
    log_in(server, hop(tmp_path / "id.pub", only=True), Identities())
    assert server.offered == [public(2)]
    serve_none = Server(public(2))
    with pytest.raises(TransportError, match="the ssh-agent does not hold the SSH key"):
        log_in(serve_none, hop(tmp_path / "id.pub", only=True), Identities())
