"""Logging in with keys: from files, and from the ssh-agent. Passwords are never asked for nor sent."""

import base64
import io
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

import paramiko

from airgap.endpoints.ssh.config import Hop
from airgap.errors import KeyFileError, TransportError

_KINDS: tuple[type[paramiko.PKey], ...] = (paramiko.Ed25519Key, paramiko.ECDSAKey, paramiko.RSAKey)
_DEFAULTS = ("id_ed25519", "id_ecdsa", "id_rsa")
_MAX_FILE = 64 << 10


class Identities:
    """Key files, each read once however many hosts want it."""

    def __init__(self) -> None:
        self._keys: dict[Path, paramiko.PKey] = {}
        self._lock = threading.Lock()

    def prepare(self, paths: Sequence[Path], passphrase: Callable[[], bytes]) -> None:
        """Read and decrypt the files that the agent does not stand for. Raises `KeyFileError`.

        A passphrase is asked for here only, before many hosts are at work and the terminal is theirs.
        """
        with closing(paramiko.Agent()) as agent:
            held = {key.asbytes() for key in agent.get_keys()}
        for path in paths:
            if _public_blob(path) not in held:
                self._keys[path] = _load(path, passphrase)

    def key(self, path: Path) -> paramiko.PKey:
        """The private key in a file. Raises `KeyFileError`, also when it is encrypted and not prepared."""
        with self._lock:
            if path not in self._keys:
                self._keys[path] = _load(path, lambda: b"")
            return self._keys[path]


def _load(path: Path, passphrase: Callable[[], bytes]) -> paramiko.PKey:
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


def log_in(transport: paramiko.Transport, hop: Hop, identities: Identities) -> None:
    """Offer one key after the other. Raises `TransportError` when the server takes none of them, and
    `KeyFileError` when there is nothing to offer but files that cannot be used.
    """
    refused: list[str] = []
    unusable: list[KeyFileError] = []
    with closing(paramiko.Agent()) as agent:
        for name, load in _candidates(hop, identities, agent):
            try:
                key = load()
            except KeyFileError as error:
                unusable.append(error)
                continue
            if _accepted(transport, hop, key):
                return
            refused.append(name)
    if unusable and not refused:
        raise unusable[0]
    found = [*([f"refused: {', '.join(refused)}"] if refused else []), *(str(error) for error in unusable)]
    raise TransportError(
        "no login",
        subject=hop,
        want="a key that it accepts",
        got="; ".join(found) or "no key here: no agent, no key file",
        hint="--identity FILE names a key file; `ssh-add` gives one to the agent; its public half belongs "
        "into ~/.ssh/authorized_keys there",
    )


def _accepted(transport: paramiko.Transport, hop: Hop, key: paramiko.PKey) -> bool:
    try:
        further = transport.auth_publickey(hop.user, key)
    except paramiko.BadAuthenticationType as error:
        raise TransportError("no login", subject=hop, want="a server that takes keys", got=error) from error
    except paramiko.AuthenticationException:
        return False
    if further:
        raise TransportError(
            "no login", subject=hop, want="a key to be enough", got=f"it also wants {', '.join(further)}"
        )
    return True


def _candidates(
    hop: Hop, identities: Identities, agent: paramiko.Agent
) -> Iterator[tuple[str, Callable[[], paramiko.PKey]]]:
    """Named files first (by the agent where it has them), then the agent's others, then the usual files."""
    held = {key.asbytes(): key for key in agent.get_keys()}
    for path in hop.identities:
        if agent_key := held.pop(_public_blob(path), None):
            yield f"{path} (agent)", partial(_itself, agent_key)
        elif path.exists():
            yield str(path), partial(identities.key, path)
    offered = set(held)
    if not hop.identities_only:
        for key in held.values():
            yield f"{key.comment or key.get_name()} (agent)", partial(_itself, key)
    if not hop.identities:
        for path in (Path.home() / ".ssh" / name for name in _DEFAULTS):
            if _public_blob(path) not in offered and path.exists():
                yield str(path), partial(identities.key, path)


def _itself(key: paramiko.PKey) -> paramiko.PKey:
    return key


def _public_blob(path: Path) -> bytes:
    with suppress(OSError, ValueError):
        with path.with_name(path.name + ".pub").open("rb") as file:
            fields = file.read(_MAX_FILE).split()
        return base64.b64decode(fields[1], validate=True) if len(fields) > 1 else b""
    return b""


def _read_private(path: Path) -> str:
    """A key that others can read is no secret: refused, as ssh does."""
    try:
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            raw = file.read(_MAX_FILE)
    except OSError as error:
        raise KeyFileError("cannot read the SSH key", subject=path, got=error.strerror) from error
    if not stat.S_ISREG(found.st_mode) or found.st_mode & 0o077:
        got = f"mode {stat.S_IMODE(found.st_mode):04o}"
        hint = f"chmod 600 {path}"
        raise KeyFileError("others can read the SSH key", subject=path, want="mode 0600", got=got, hint=hint)
    return raw.decode("ascii", "replace")


def _parse(text: str, passphrase: str | None, path: Path) -> paramiko.PKey:
    """Raises paramiko's `PasswordRequiredException` when there is none given, else `KeyFileError`."""
    for kind in _KINDS:
        try:
            return kind.from_private_key(io.StringIO(text), passphrase)
        except paramiko.PasswordRequiredException:
            raise
        except Exception:  # noqa: BLE001, S112 - paramiko's parsers let out anything; the next kind is tried
            continue
    if passphrase is None:
        raise KeyFileError("not a private SSH key", subject=path, want="Ed25519, ECDSA or RSA")
    raise KeyFileError("the SSH key cannot be opened", subject=path, got="wrong passphrase, or unknown kind")
