"""What `~/.ssh/config` says of a server (ssh_config(5)), and the way there as a chain of hops.

Used are HostName, User, Port, ProxyJump, IdentityFile, IdentitiesOnly, UserKnownHostsFile, HostKeyAlias,
Host, Match (not `exec`) and Include. Nothing there can weaken the check of host keys:
StrictHostKeyChecking is not read. A ProxyCommand would run a program, and is refused.
"""

import glob
import re
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from getpass import getuser
from pathlib import Path
from typing import Any

import paramiko

from airgap.endpoints.ssh.address import Address
from airgap.endpoints.ssh.known_hosts import known_name
from airgap.errors import FormatError, UsageError

_MAX_FILE = 1 << 20
_MAX_DEPTH = 8
_SETTING = re.compile(r"\s*(?P<key>\w+)(?:\s*=\s*|\s+)(?P<value>.*)", re.ASCII)
_SYSTEM_KNOWN_HOSTS = Path("/etc/ssh/ssh_known_hosts")


def _no_passphrase() -> bytes:
    return b""


@dataclass(frozen=True, slots=True)
class SshOptions:
    """What the command line says; the rest is ssh_config's."""

    config_file: Path | None = None
    """Instead of `~/.ssh/config`."""
    known_hosts: Path | None = None
    """Instead of all other files of known hosts."""
    identities: tuple[Path, ...] = ()
    """Key files, tried before all others."""
    passphrase: Callable[[], bytes] = field(default=_no_passphrase)
    """Of encrypted files among `identities`."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One server on the way, with all that is needed to log in there."""

    host: str
    port: int
    user: str
    known_as: str
    """What files of known hosts call it."""
    known_hosts: tuple[Path, ...]
    identities: tuple[Path, ...]
    """Key files that were named; they need not exist."""
    identities_only: bool

    def __str__(self) -> str:
        return str(Address(self.host, self.user, self.port))


class SshConfig:
    """A configuration file, read once. Raises `FormatError` for what cannot be read."""

    def __init__(self, options: SshOptions) -> None:
        self._options = options
        self._path = options.config_file or Path.home() / ".ssh" / "config"
        if options.config_file is not None and not options.config_file.exists():
            raise UsageError("no such file", subject=options.config_file, want="an ssh_config file")
        if options.known_hosts is not None and not options.known_hosts.exists():
            raise UsageError("no such file", subject=options.known_hosts, want="a known_hosts file")
        try:
            self._config = paramiko.SSHConfig.from_text(_text(self._path, 0))
            _refuse_exec(self._config, self._path)
        except (paramiko.SSHException, ValueError) as error:
            raise FormatError("not an ssh_config file", subject=self._path, got=error) from error

    def route(self, address: Address) -> tuple[Hop, ...]:
        """The servers from here to `address`, which is the last of them."""
        return self._route(address, 0)

    def _route(self, address: Address, depth: int) -> tuple[Hop, ...]:
        if depth > _MAX_DEPTH:
            raise FormatError("ProxyJump leads in a circle", subject=f"{self._path}: {address}")
        found = self._lookup(address)
        jumps = str(found.get("proxyjump") or "none")
        hops: tuple[Hop, ...] = ()
        for jump in jumps.split(",") if jumps.lower() != "none" else ():
            stop = Address.parse(jump.strip())
            # The first one is reached as its own settings say, each further one through the one before.
            hops = (*hops, self._hop(stop, self._lookup(stop))) if hops else self._route(stop, depth + 1)
        return (*hops, self._hop(address, found))

    def _lookup(self, address: Address) -> Mapping[str, Any]:
        try:
            found: Mapping[str, Any] = self._config.lookup(address.host)
        except (paramiko.SSHException, OSError, ValueError) as error:
            raise FormatError("cannot be followed", subject=f"{self._path}: {address}", got=error) from error
        if found.get("proxycommand") and not found.get("proxyjump"):
            raise FormatError(
                "ProxyCommand is not supported",
                subject=f"{self._path}: {address}",
                hint="ProxyJump does the same without a program; --ssh-config FILE takes another file",
            )
        return found

    def _hop(self, address: Address, found: Mapping[str, Any]) -> Hop:
        host = str(found.get("hostname") or address.host)
        port = address.port or self._port(found)
        alias = found.get("hostkeyalias")
        named = tuple(Path(name).expanduser() for name in found.get("identityfile", ()))
        return Hop(
            host=host,
            port=port,
            user=address.user or str(found.get("user") or getuser()),
            known_as=str(alias).lower() if alias else known_name(host, port),
            known_hosts=self._known_hosts(found),
            identities=(*self._options.identities, *named),
            identities_only=str(found.get("identitiesonly", "no")).lower() == "yes",
        )

    def _port(self, found: Mapping[str, Any]) -> int:
        text = str(found.get("port", "22"))
        if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
            raise FormatError("not a port", subject=self._path, got=repr(text))
        return int(text)

    def _known_hosts(self, found: Mapping[str, Any]) -> tuple[Path, ...]:
        if self._options.known_hosts is not None:
            return (self._options.known_hosts,)
        named = found.get("userknownhostsfile")
        try:
            texts = shlex.split(str(named)) if named else ["~/.ssh/known_hosts", "~/.ssh/known_hosts2"]
        except ValueError as error:
            raise FormatError("not a list of files", subject=self._path, got=repr(named)) from error
        return (*(Path(text).expanduser() for text in texts), _SYSTEM_KNOWN_HOSTS)


def _text(path: Path, depth: int) -> str:
    """The file's text with that of the files that it includes; empty when it is not there."""
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_FILE + 1)
    except (FileNotFoundError, NotADirectoryError):
        return ""
    except OSError as error:
        raise FormatError("cannot be read", subject=path, got=error.strerror) from error
    if len(raw) > _MAX_FILE or depth > _MAX_DEPTH:
        raise FormatError("too large", subject=path, want=f"at most {_MAX_FILE:,} bytes")
    lines: list[str] = []
    block = "Host *"
    for line in raw.decode("utf-8", "replace").splitlines():
        match = _SETTING.match(line)
        key = match["key"].lower() if match else ""
        if key == "include" and match:
            lines += [_included(match["value"], path, depth), block]
            continue
        if key in ("host", "match"):
            block = line
        lines.append(line)
    return "\n".join(lines)


def _refuse_exec(config: paramiko.SSHConfig, path: Path) -> None:
    """As paramiko has understood the file, which knows many spellings of a word: it would run the program."""
    blocks: Sequence[Mapping[str, Any]] = config._config  # type: ignore[attr-defined]  # noqa: SLF001
    for block in blocks:
        for criterion in block.get("matches") or ():
            if criterion["type"] == "exec":
                what = "Match exec is not supported: it would run a program"
                raise FormatError(what, subject=path, got=criterion.get("param"))


def _included(patterns: str, path: Path, depth: int) -> str:
    """The text of the files; paths start at the folder of `path`."""
    try:
        wanted = [path.parent / Path(word).expanduser() for word in shlex.split(patterns)]
    except ValueError as error:
        raise FormatError("not a list of files", subject=path, got=patterns) from error
    found = [name for each in wanted for name in sorted(glob.glob(str(each)))]  # noqa: PTH207 - absolute ones
    return "\n".join(_text(Path(name), depth + 1) for name in found)
