"""The ssh_config settings of a server, and the route to it as a chain of hops.

Used are HostName, User, Port, ProxyJump, IdentityFile, IdentitiesOnly, IdentityAgent, UserKnownHostsFile,
GlobalKnownHostsFile, HostKeyAlias, Host, Match (not `exec`) and Include, in `~/.ssh/config` and then in
`/etc/ssh/ssh_config`. No setting can weaken the check of host keys: StrictHostKeyChecking is not read.
Unsupported settings that would change the route or the trust are refused, not ignored.
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
from airgap.limits import MAX_SSH_JUMPS

_SYSTEM_CONFIG = Path("/etc/ssh/ssh_config")
_NO_HOME = Path("/nonexistent")
"""The home folder of a user without one, as in Debian's password file: it contains no files."""
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
"""Settings that would change the route or the trust, and what to use instead."""
_OFF = {"none", "no", "false"}


def _no_passphrase() -> bytes:
    return b""


@dataclass(frozen=True, slots=True)
class SshOptions:
    """The options of the command line; the rest comes from ssh_config."""

    config_file: Path | None = None
    """Used instead of `~/.ssh/config` and the system's file."""
    known_hosts: Path | None = None
    """Used instead of all other known_hosts files."""
    identities: tuple[Path, ...] = ()
    """Key files, tried before all others."""
    passphrase: Callable[[], bytes] = field(default=_no_passphrase)
    """Returns the passphrase of encrypted files among `identities`."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One server on the route, with all that is needed to log in there."""

    host: str
    port: int
    user: str
    known_as: str
    """Its name in known_hosts files."""
    known_hosts: tuple[Path, ...]
    identities: tuple[Path, ...]
    """Key files that were named; they need not exist."""
    identities_only: bool
    agent: str | None = None
    """The socket of the ssh-agent; empty for none, None for the usual one."""

    def __str__(self) -> str:
        return str(Address(self.host, self.user, self.port))


class SshConfig:
    """The configuration files, read once. Raises `FormatError` for a file that cannot be read."""

    def __init__(self, options: SshOptions) -> None:
        self._options = options
        if options.config_file is not None and not exists(options.config_file):
            raise UsageError("no such file", subject=options.config_file, want="an ssh_config file")
        if options.known_hosts is not None and not exists(options.known_hosts):
            raise UsageError("no such file", subject=options.known_hosts, want="a known_hosts file")
        users = (home_folder() or _NO_HOME) / ".ssh"
        if options.config_file is not None:
            self._files = [ConfigFile.read(options.config_file, users, trusted=True)]
        else:
            self._files = [
                ConfigFile.read(users / "config", users, trusted=False),
                ConfigFile.read(_SYSTEM_CONFIG, _SYSTEM_CONFIG.parent, trusted=True),
            ]

    def route(self, address: Address) -> tuple[Hop, ...]:
        """Return the servers from here to `address`, which is the last of them."""
        return self._route(address, 0)

    def _route(self, address: Address, depth: int) -> tuple[Hop, ...]:
        found = self._found(address)
        proxy = found.values.get("proxy")
        if depth > MAX_SSH_JUMPS:
            raise FormatError("ProxyJump forms a loop", subject=f"{proxy.where if proxy else address}")
        hops: tuple[Hop, ...] = ()
        for jump in _jumps(found):
            stop = Address.parse(jump.strip())
            # The first one is reached by its own settings, each further one through the one before.
            hops = (*hops, self._hop(self._found(stop))) if hops else self._route(stop, depth + 1)
        return (*hops, self._hop(found))

    def _found(self, address: Address) -> Found:
        found = Found.of(address, self._files)
        for key in _REFUSED:
            if key == "knownhostscommand" and self._options.known_hosts is not None:
                continue  # it would only add to files that are not read
            setting = found.values.get(key)
            if setting is not None and setting.words[0].lower() not in _OFF:
                raise _refusal(setting)
        return found

    def _hop(self, found: Found) -> Hop:
        host, port = found.host, found.address.port or _port(found)
        alias = found.word("hostkeyalias")
        tokens = _tokens(found, port)
        named = tuple(home(expanded(setting, tokens), setting.where) for setting in found.identities)
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
    """Return the jump hosts. Raises `FormatError` for a ProxyCommand."""
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
    """Return the values of `%` tokens (ssh_config(5), TOKENS), except `%C`."""
    host_name = socket.gethostname()
    return {
        "d": str(home_folder() or os.sep),
        "h": found.host,
        "i": str(os.getuid()),
        "k": found.word("hostkeyalias") or found.address.host,
        "L": host_name.partition(".")[0],
        "l": host_name,
        "n": found.address.host,
        "p": str(port),
        "r": found.user,
        "u": user_name(),
    }
