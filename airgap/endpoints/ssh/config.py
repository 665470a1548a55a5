"""What ssh_config says of a server, and the way there as a chain of hops.

Used are HostName, User, Port, ProxyJump, IdentityFile, IdentitiesOnly, IdentityAgent, UserKnownHostsFile,
GlobalKnownHostsFile, HostKeyAlias, Host, Match (not `exec`) and Include, in `~/.ssh/config` and then in
`/etc/ssh/ssh_config`. Nothing there can weaken the check of host keys: StrictHostKeyChecking is not read.
What would change the way or the trust and is not done here is refused, not passed over.
"""

import os
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from airgap.account import home_folder, user_name
from airgap.durable import exists
from airgap.endpoints.ssh.address import Address
from airgap.endpoints.ssh.config_files import ConfigFile, Found, Setting, expanded, home
from airgap.endpoints.ssh.known_hosts import known_name
from airgap.errors import FormatError, UsageError

_MAX_JUMPS = 8
_SYSTEM_CONFIG = Path("/etc/ssh/ssh_config")
_NOWHERE = Path("/nonexistent")
"""The home folder of a user who has none (Debian's password file says the same): no file is below it."""
_USERS_KNOWN_HOSTS = ("~/.ssh/known_hosts", "~/.ssh/known_hosts2")
_SYSTEM_KNOWN_HOSTS = ("/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2")

_REFUSED = {
    "canonicalizehostname": ("CanonicalizeHostname", "a HostName with the full name does the same"),
    "knownhostscommand": ("KnownHostsCommand", "--known-hosts FILE names a file with the keys"),
    "proxycommand": ("ProxyCommand", "ProxyJump does the same without a program"),
    "revokedhostkeys": (
        "RevokedHostKeys",
        "a line `@revoked * KIND KEY` in a known_hosts file does the same",
    ),
}
"""What would change where one connects or whom one trusts, and what to do in its place."""
_OFF = {"none", "no", "false"}


def _no_passphrase() -> bytes:
    return b""


@dataclass(frozen=True, slots=True)
class SshOptions:
    """What the command line says; the rest is ssh_config's."""

    config_file: Path | None = None
    """Instead of `~/.ssh/config` and the system's file."""
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
    agent: str | None = None
    """The socket of the ssh-agent; empty for none, None for the usual one."""

    def __str__(self) -> str:
        return str(Address(self.host, self.user, self.port))


class SshConfig:
    """The configuration files, read once. Raises `FormatError` for what cannot be read."""

    def __init__(self, options: SshOptions) -> None:
        self._options = options
        if options.config_file is not None and not exists(options.config_file):
            raise UsageError("no such file", subject=options.config_file, want="an ssh_config file")
        if options.known_hosts is not None and not exists(options.known_hosts):
            raise UsageError("no such file", subject=options.known_hosts, want="a known_hosts file")
        users = (home_folder() or _NOWHERE) / ".ssh"
        if options.config_file is not None:
            self._files = [ConfigFile.read(options.config_file, users, trusted=True)]
        else:
            self._files = [
                ConfigFile.read(users / "config", users, trusted=False),
                ConfigFile.read(_SYSTEM_CONFIG, _SYSTEM_CONFIG.parent, trusted=True),
            ]

    def route(self, address: Address) -> tuple[Hop, ...]:
        """The servers from here to `address`, which is the last of them."""
        return self._route(address, 0)

    def _route(self, address: Address, depth: int) -> tuple[Hop, ...]:
        found = self._found(address)
        proxy = found.values.get("proxy")
        if depth > _MAX_JUMPS:
            raise FormatError("ProxyJump forms a loop", subject=f"{proxy.where if proxy else address}")
        hops: tuple[Hop, ...] = ()
        for jump in _jumps(found):
            stop = Address.parse(jump.strip())
            # The first one is reached as its own settings say, each further one through the one before.
            hops = (*hops, self._hop(self._found(stop))) if hops else self._route(stop, depth + 1)
        return (*hops, self._hop(found))

    def _found(self, address: Address) -> Found:
        found = Found.of(address, self._files)
        for key in _REFUSED:
            if key == "knownhostscommand" and self._options.known_hosts is not None:
                continue  # it would only add to the files that are not asked
            setting = found.values.get(key)
            if setting is not None and setting.words[0].lower() not in _OFF:
                raise _refusal(setting)
        return found

    def _hop(self, found: Found) -> Hop:
        host, port = found.host, found.address.port or _port(found)
        alias = found.word("hostkeyalias")
        tokens = _tokens(found, port)
        named = tuple(home(expanded(each, tokens), each.where) for each in found.identities)
        return Hop(
            host=host,
            port=port,
            user=found.user,
            known_as=alias.lower() if alias else known_name(host, port),
            known_hosts=self._known_hosts(found, tokens),
            identities=(*self._options.identities, *named),
            identities_only=(found.word("identitiesonly") or "no").lower() in ("yes", "true"),
            agent=_agent(found, tokens),
        )

    def _known_hosts(self, found: Found, tokens: dict[str, str]) -> tuple[Path, ...]:
        if self._options.known_hosts is not None:
            return (self._options.known_hosts,)
        own = _USERS_KNOWN_HOSTS if home_folder() else ("none",)
        usual = {"userknownhostsfile": own, "globalknownhostsfile": _SYSTEM_KNOWN_HOSTS}
        paths: list[Path] = []
        for key, names in usual.items():
            setting = found.values.get(key, Setting("", key, names))
            if [word.lower() for word in setting.words] != ["none"]:
                paths += [home(expanded(setting, tokens, word), setting.where) for word in setting.words]
        return tuple(paths)


def _jumps(found: Found) -> list[str]:
    """The stops before the last one. Raises `FormatError` where a program would make the way."""
    proxy = found.values.get("proxy")
    if proxy is None or proxy.words[0].lower() == "none":
        return []
    if proxy.key == "proxycommand":
        raise _refusal(proxy)
    port = found.address.port or _port(found)
    return expanded(proxy, {name: _tokens(found, port)[name] for name in "hnpr"}).split(",")


def _agent(found: Found, tokens: dict[str, str]) -> str | None:
    setting = found.values.get("identityagent")
    if setting is None or setting.words[0] == "SSH_AUTH_SOCK":
        return None
    text = setting.words[0]
    if text.lower() == "none":
        return ""
    if text.startswith("$") and not text.startswith("${"):
        return os.environ.get(text[1:], "")
    return str(home(expanded(setting, tokens), setting.where))


def _refusal(setting: Setting) -> FormatError:
    name, instead = _REFUSED[setting.key]
    hint = f"{instead}; --ssh-config FILE replaces all other files"
    return FormatError(f"{name} is not supported", subject=setting.where, got=setting.words[0], hint=hint)


def _port(found: Found) -> int:
    text = found.word("port") or "22"
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise FormatError("not a port", subject=found.values["port"].where, got=repr(text))
    return int(text)


def _tokens(found: Found, port: int) -> dict[str, str]:
    """What `%` signs stand for (ssh_config(5), TOKENS); `%C` is not among them."""
    here = socket.gethostname()
    return {
        "d": str(home_folder() or os.sep),
        "h": found.host,
        "i": str(os.getuid()),
        "k": found.word("hostkeyalias") or found.address.host,
        "L": here.partition(".")[0],
        "l": here,
        "n": found.address.host,
        "p": str(port),
        "r": found.user,
        "u": user_name(),
    }
