"""Known host keys, strictly: a key that is not in the file is refused (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).

paramiko's own reader is not used: it supports neither `@revoked` nor patterns, so that a revoked key would be
accepted. Host certificates are not checked: the key of a `@cert-authority` is not a host's key.
"""

import base64
import fnmatch
import hashlib
import hmac
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from airgap.endpoints.ssh.limits import MAX_KNOWN_HOSTS_BYTES
from airgap.errors import TransportError
from airgap.values import dataclass

_KINDS = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}
_REVOKED, _AUTHORITY = "@revoked", "@cert-authority"
_PATTERN = set("*?!")


@dataclass(frozen=True, slots=True)
class SshRoute:
    """The route to a host, for the hints; known_hosts files may use another name for it."""

    host: str
    port: int
    user: str
    jumps: tuple[str, ...] = ()
    """`user@host:port` each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownKey:
    """One line of a known_hosts file."""

    names: str
    """The first field, unchanged: patterns, or one hashed name."""
    kind: str
    blob: bytes
    marker: str
    """`@revoked`, `@cert-authority`, or empty for a host's own key."""
    where: str

    def is_for(self, name: str) -> bool:
        """Return whether the line is about the host that known_hosts files call `name`."""
        if self.names.startswith("|"):
            return _hashed(self.names, name)
        patterns = self.names.lower().split(",")
        if any(pattern[:1] == "!" and matches(name, pattern[1:]) for pattern in patterns):
            return False
        return any(matches(name, pattern) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class KnownHosts:
    """The lines of several known_hosts files."""

    keys: tuple[KnownKey, ...]
    paths: tuple[Path, ...]

    @classmethod
    def load(cls, paths: Sequence[Path]) -> Self:
        """Read files; missing ones count as empty. Raises `TransportError` for one that cannot be read."""
        found: list[KnownKey] = []
        for path in paths:
            for number, line in enumerate(_read(path).splitlines(), 1):
                if key := _parse(line, f"{path}:{number}"):
                    found.append(key)
        return cls(tuple(found), tuple(paths))

    def algorithms(self, name: str) -> tuple[str, ...]:
        """Return the host key algorithms for which a key of `name` is known: to be offered before all
        others.
        """
        kinds = [key.kind for key in self.keys if not key.marker and key.is_for(name)]
        return tuple(dict.fromkeys(algorithm for kind in kinds for algorithm in _KINDS.get(kind, (kind,))))

    def check(self, name: str, kind: str, blob: bytes, route: SshRoute) -> None:
        """Raise `TransportError` unless a server's key is known.

        Args:
            name: The host, as known_hosts files call it.
            kind: The kind of the key, for instance `ssh-ed25519`.
            blob: The key that the server has shown.
            route: The route to the host, for hints.
        """
        about = [key for key in self.keys if key.is_for(name)]
        same = [key for key in about if hmac.compare_digest(key.blob, blob)]
        offered = f"{kind} {fingerprint(blob)}"
        for key in same:
            if key.marker == _REVOKED:
                raise TransportError(
                    "revoked host key", subject=name, got=f"{offered}, revoked by {key.where}",
                    hint="someone may be intercepting the connection: ask the host's owner what happened",
                )  # fmt: skip
        if any(not key.marker for key in same):
            return
        for key in about:
            if key.marker == _AUTHORITY:
                offered += f" ({key.where} names a certificate authority: host certificates are not checked)"
                break
        if others := [key for key in about if not key.marker]:
            raise _changed(name, offered, others[0])
        raise self._unknown(name, kind, offered, route)

    def _unknown(self, name: str, kind: str, offered: str, route: SshRoute) -> TransportError:
        path = str(self.paths[0]) if self.paths else "~/.ssh/known_hosts"
        return TransportError(
            "unknown host key",
            subject=name,
            got=offered,
            hint="compare the fingerprint with the one that `ssh-keygen -lf /etc/ssh/ssh_host_…_key.pub` "
            f"prints on the host; if it is the same: {_to_store(name, kind, path, route)}",
        )


def _changed(name: str, offered: str, other: KnownKey) -> TransportError:
    path, _, number = other.where.rpartition(":")
    remove = f"`{shlex.join(['ssh-keygen', '-R', name, '-f', path])}`"
    if _PATTERN & set(other.names):  # ssh-keygen does not remove patterns
        remove = f"an editor (line {number}, which is for {other.names})"
    return TransportError(
        "changed host key",
        subject=name,
        want=f"{other.kind} {fingerprint(other.blob)} ({other.where})",
        got=offered,
        hint="someone may be intercepting the connection. If the host was reinstalled: compare the "
        "fingerprint with the one that `ssh-keygen -lf /etc/ssh/ssh_host_…_key.pub` prints on it, then "
        f"remove the old one with {remove} and add the new one",
    )


def _to_store(name: str, kind: str, path: str, route: SshRoute) -> str:
    """Return the command that adds the key under `name`, from where it can be reached."""
    alias = name != known_name(route.host, route.port)
    port = [] if route.port == 22 else ["-p", str(route.port)]
    if route.jumps:  # ssh-keyscan connects directly; ssh shows the fingerprint, asks, and stores
        options = ["-o", f"UserKnownHostsFile={path}", "-o", "StrictHostKeyChecking=ask"]
        options += ["-o", f"HostKeyAlias={name}"] if alias else []
        command = ["ssh", "-J", ",".join(route.jumps), *options, *port, f"{route.user}@{route.host}", "exit"]
        return f"`{shlex.join(command)}` shows it again and asks"
    scan = shlex.join(["ssh-keyscan", *port, "-t", _scan_type(kind), route.host])
    first = shlex.quote(f'{{$1 = "{name}"; print}}')
    renamed = f" | awk {first}" if alias else ""
    return f"`{scan}{renamed} >> {shlex.quote(path)}`"


def known_name(host: str, port: int) -> str:
    """Return the name of a server in known_hosts files."""
    return host.lower() if port == 22 else f"[{host.lower()}]:{port}"


def fingerprint(blob: bytes) -> str:
    """Return the fingerprint as OpenSSH prints it: `SHA256:…`."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode("ascii").rstrip("=")


def _scan_type(kind: str) -> str:
    return kind.removeprefix("ssh-") if not kind.startswith("ecdsa") else "ecdsa"


def matches(name: str, pattern: str) -> bool:
    """Return whether an OpenSSH pattern matches: only `*` and `?` are special; brackets belong to
    `[host]:port`.
    """
    return fnmatch.fnmatchcase(name, pattern.replace("[", "[[]"))


def _hashed(field: str, name: str) -> bool:
    """Check a hashed name, `|1|salt|hash`, where the hash is the HMAC-SHA1 of the name."""
    parts = field.split("|")
    if len(parts) != 4 or parts[1] != "1":
        return False
    salt, want = _decode(parts[2]), _decode(parts[3])
    got = hmac.new(salt or b"", name.encode(), hashlib.sha1).digest()
    return salt is not None and want is not None and hmac.compare_digest(got, want)


def _parse(line: str, where: str) -> KnownKey | None:
    """Parse a line; None for comments, and for anything that is not a valid line."""
    fields = line.split()
    marker = fields.pop(0) if fields and fields[0].startswith("@") else ""
    if len(fields) < 3 or fields[0].startswith("#") or marker not in ("", _REVOKED, _AUTHORITY):
        return None
    blob = _decode(fields[2])
    if not blob:
        return None
    return KnownKey(names=fields[0], kind=fields[1], blob=blob, marker=marker, where=where)


def _decode(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        return None


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_KNOWN_HOSTS_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise TransportError("cannot read the known hosts", subject=path, got=error.strerror) from error
    if len(raw) > MAX_KNOWN_HOSTS_BYTES:
        raise TransportError("too large", subject=path, want=f"at most {MAX_KNOWN_HOSTS_BYTES:,} bytes")
    return raw.decode("utf-8", "replace")
