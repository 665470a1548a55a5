"""Logging in with keys: from files, and from the ssh-agent. Passwords are never asked for nor sent."""

import base64
import io
import os
import stat
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

import paramiko

from airgap.account import home_folder
from airgap.durable import exists
from airgap.endpoints.ssh.agent import Agent, HeldKey
from airgap.endpoints.ssh.config import Hop
from airgap.endpoints.ssh.limits import MAX_SSH_KEY_BYTES, MAX_SSH_MESSAGE_CHARACTERS
from airgap.endpoints.ssh.transport import SshTransport
from airgap.errors import KeyFileError, LinkError, TransportError

_KINDS: tuple[type[paramiko.PKey], ...] = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)
_DEFAULTS = ("id_ed25519", "id_ecdsa", "id_rsa")

Candidate = tuple[str, Callable[[], paramiko.PKey]]
"""A key's name, and a function that loads it, which raises `KeyFileError`."""


class Identities:
    """Key files, each read once for any number of hosts."""

    def __init__(self) -> None:
        self._keys: dict[Path, paramiko.PKey] = {}
        self._lock = threading.Lock()

    def prepare(self, paths: Sequence[Path], passphrase: Callable[[], bytes]) -> None:
        """Read and decrypt the files whose keys the agent does not hold. Raises `KeyFileError`.

        The passphrase is asked for only here, before connections to many hosts use the terminal.
        """
        with Agent() as agent:
            held = {key.asbytes() for key in agent.keys}
        for path in paths:
            if _public_blob(path) not in held:
                self._keys[path] = _load(path, passphrase)

    def key(self, path: Path) -> paramiko.PKey:
        """Return the private key in a file. Raises `KeyFileError`, also if it is encrypted and not
        prepared.
        """
        with self._lock:
            if path not in self._keys:
                self._keys[path] = _load(path, lambda: b"")
            return self._keys[path]


def _load(path: Path, passphrase: Callable[[], bytes]) -> paramiko.PKey:
    if _is_public(path):
        hint = "add the private key to the agent with `ssh-add`; without an agent, name the private key file"
        raise KeyFileError("the ssh-agent does not hold the SSH key", subject=path, hint=hint)
    text = _read_private(path)
    with suppress(paramiko.PasswordRequiredException):
        return _parse(text, None, path)
    if not (given := passphrase()):
        raise KeyFileError(
            "the SSH key is encrypted",
            subject=path,
            hint="give it to the agent with `ssh-add`, or name it with `airgap send --identity`",
        )
    return _parse(text, given.decode("utf-8", "surrogateescape"), path)


def log_in(transport: SshTransport, hop: Hop, identities: Identities) -> None:
    """Offer one key after the other. Raises `TransportError` if the server accepts none of them, and
    `KeyFileError` if there are only files that cannot be used.
    """
    tried: set[bytes] = set()
    refused: list[str] = []
    unsigned: list[str] = []
    unusable: list[KeyFileError] = []
    with Agent(hop.agent) as agent:
        for name, load in _candidates(hop, identities, agent):
            try:
                key = load()
            except KeyFileError as error:
                unusable.append(error)
                continue
            if key.asbytes() in tried:
                continue
            tried.add(key.asbytes())
            if _accepted(transport, hop, key, [*refused, *unsigned, name]):
                return
            trouble = key.trouble if isinstance(key, HeldKey) else ""
            (unsigned if trouble else refused).append(f"{name}: {trouble}" if trouble else name)
    if unusable and not (refused or unsigned or agent.trouble):
        raise unusable[0]
    found = [
        *([f"refused: {', '.join(refused)}"] if refused else []),
        *([f"not signed by the ssh-agent: {', '.join(unsigned)}"] if unsigned else []),
        *([f"the ssh-agent: {agent.trouble}"] if agent.trouble else []),
        *(str(error) for error in unusable),
    ]
    raise TransportError(
        "login failed",
        subject=hop,
        want="a key that the server accepts",
        got="; ".join(found) or "no key here: no agent, no key file",
        hint="name a key file with --identity FILE, or add a key to the agent with `ssh-add`; its public "
        "half must be in ~/.ssh/authorized_keys on the host",
    )


def _accepted(transport: SshTransport, hop: Hop, key: paramiko.PKey, offered: Sequence[str]) -> bool:
    """Return whether the server accepts `key`, the last of those that were offered."""
    begun = time.monotonic()
    try:
        further = transport.auth_publickey(hop.user, key)
    except paramiko.BadAuthenticationType as error:
        got = str(error)[:MAX_SSH_MESSAGE_CHARACTERS]
        raise TransportError(
            "login failed", subject=hop, want="a server that accepts keys", got=got
        ) from error
    except (paramiko.SSHException, OSError, EOFError) as error:
        if not transport.is_active():
            raise _closed_error(transport, hop, offered, error) from error
        if not isinstance(error, paramiko.AuthenticationException):
            raise
        if time.monotonic() - begun >= transport.auth_timeout:  # paramiko raises the same for a refusal
            got = f"{transport.auth_timeout:.0f} s of silence after {offered[-1]}"
            raise LinkError("login failed", subject=hop, want="an answer", got=got) from error
        return False
    if further:
        raise TransportError(
            "login failed",
            subject=hop,
            want="login with a key alone",
            got=f"the server also requires {', '.join(further)[:MAX_SSH_MESSAGE_CHARACTERS]}",
        )
    return True


def _closed_error(
    transport: SshTransport, hop: Hop, offered: Sequence[str], error: Exception
) -> TransportError:
    """Return the error for a server that closed the connection. Servers do so after a few keys
    (sshd_config(5), MaxAuthTries), and an agent may hold many.
    """
    if len(offered) == 1 and not transport.disconnect_message:
        return LinkError("login failed", subject=hop, want="an answer", got=f"{error} after {offered[0]}")
    return TransportError(
        "login failed",
        subject=hop,
        want="the right key among the first ones offered",
        got=f"the server closed the connection after {len(offered)} keys: "
        f"{transport.disconnect_message or 'no reason given'}; offered: {', '.join(offered)}",
        hint="name the key that the host accepts with --identity FILE: it is offered first, even from "
        "the agent; or set IdentityFile and `IdentitiesOnly yes` in ssh_config",
    )


def _candidates(hop: Hop, identities: Identities, agent: Agent) -> Iterator[Candidate]:
    """Yield the named files first (through the agent if it holds them), then the agent's other keys, then the
    usual files. After a failure the agent is not used again: each failed key would cost a try at the server.
    """
    held = {key.asbytes(): key for key in agent.keys}
    offered: set[bytes] = set()

    def of_file(path: Path) -> Candidate | None:
        if (found := held.pop(_public_blob(path), None)) and not agent.trouble:
            return f"{path} (agent)", partial(_itself, found)
        return (str(path), partial(identities.key, path)) if exists(path) else None

    yield from filter(None, map(of_file, hop.identities))
    if not hop.identities_only:
        for blob, key in held.items():
            if agent.trouble:
                break
            offered.add(blob)
            yield f"{key.comment or key.get_name()} (agent)", partial(_itself, key)
    if not hop.identities and (home := home_folder()):
        usual = (home / ".ssh" / name for name in _DEFAULTS)
        yield from filter(None, (of_file(path) for path in usual if _public_blob(path) not in offered))


def _itself(key: paramiko.PKey) -> paramiko.PKey:
    return key


def _is_public(path: Path) -> bool:
    """Return whether the path names a public key, which stands for a key in the agent (ssh_config(5),
    IdentityFile).
    """
    return path.suffix == ".pub"


def _public_blob(path: Path) -> bytes:
    with suppress(OSError, ValueError):
        with (path if _is_public(path) else path.with_name(path.name + ".pub")).open("rb") as file:
            fields = file.read(MAX_SSH_KEY_BYTES).split()
        return base64.b64decode(fields[1], validate=True) if len(fields) > 1 else b""
    return b""


def _read_private(path: Path) -> str:
    """Read a private key. A key that other users can read is refused, as ssh does."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            raw = file.read(MAX_SSH_KEY_BYTES)
    except OSError as error:
        raise KeyFileError("cannot read the SSH key", subject=path, got=error.strerror) from error
    if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077:
        got = f"mode {stat.S_IMODE(found.st_mode):04o}"
        hint = f"chmod 600 {path}"
        raise KeyFileError("others can read the SSH key", subject=path, want="mode 0600", got=got, hint=hint)
    return raw.decode("ascii", "replace")


def _parse(text: str, passphrase: str | None, path: Path) -> paramiko.PKey:
    """Parse a private key. Raises paramiko's `PasswordRequiredException` if a passphrase is needed, otherwise
    `KeyFileError`.
    """
    for kind in _KINDS:
        try:
            return kind.from_private_key(io.StringIO(text), passphrase)
        except paramiko.PasswordRequiredException:
            raise
        except Exception:  # noqa: BLE001, S112 - paramiko's parsers raise anything; the next kind is tried
            continue
    if passphrase is None:
        raise KeyFileError("not a private SSH key", subject=path, want="Ed25519, ECDSA or RSA")
    raise KeyFileError("the SSH key cannot be opened", subject=path, got="wrong passphrase, or unknown kind")
