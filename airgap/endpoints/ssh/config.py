"""The ssh_config settings of a server, and the route to it as a chain of hops.

`~/.ssh/config` is read first, then `/etc/ssh/ssh_config`. The supported settings are HostName, User, Port,
ProxyJump, IdentityFile, IdentitiesOnly, IdentityAgent, UserKnownHostsFile, GlobalKnownHostsFile,
HostKeyAlias, Host, Match (not `exec`) and Include. No setting can weaken the check of host keys:
StrictHostKeyChecking is not read. Unsupported settings that would change the route or the trust are refused,
not ignored.
"""

import os
import socket
from collections.abc import Callable
from dataclasses import field
from pathlib import Path

from airgap.account import home_folder, user_name
from airgap.durable import exists
from airgap.endpoints.ssh.address import Address
from airgap.endpoints.ssh.config_files import ConfigFile, HostSettings, Setting, expanded, home
from airgap.endpoints.ssh.known_hosts import known_name
from airgap.endpoints.ssh.limits import MAX_SSH_JUMPS
from airgap.errors import FormatError, UsageError
from airgap.values import dataclass

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


@dataclass(frozen=True, slots=True, kw_only=True)
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
        settings = self._settings(address)
        proxy = settings.values.get("proxy")
        if depth > MAX_SSH_JUMPS:
            raise FormatError("ProxyJump forms a loop", subject=f"{proxy.where if proxy else address}")
        hops: tuple[Hop, ...] = ()
        for jump in _jumps(settings):
            stop = Address.parse(jump.strip())
            # The first one is reached by its own settings, each further one through the one before.
            hops = (*hops, self._hop(self._settings(stop))) if hops else self._route(stop, depth + 1)
        return (*hops, self._hop(settings))

    def _settings(self, address: Address) -> HostSettings:
        settings = HostSettings.of(address, self._files)
        for key in _REFUSED:
            if key == "knownhostscommand" and self._options.known_hosts is not None:
                continue  # it would only add to files that are not read
            setting = settings.values.get(key)
            if setting is not None and setting.words[0].lower() not in _OFF:
                raise _refusal(setting)
        return settings

    def _hop(self, settings: HostSettings) -> Hop:
        host, port = settings.host, settings.address.port or _port(settings)
        alias = settings.word("hostkeyalias")
        tokens = _tokens(settings, port)
        named = tuple(home(expanded(setting, tokens), setting.where) for setting in settings.identities)
        return Hop(
            host=host,
            port=port,
            user=settings.user,
            known_as=alias.lower() if alias else known_name(host, port),
            known_hosts=self._known_hosts(settings, tokens),
            identities=(*self._options.identities, *named),
            identities_only=(settings.word("identitiesonly") or "no").lower() in ("yes", "true"),
            agent=_agent(settings, tokens),
        )

    def _known_hosts(self, settings: HostSettings, tokens: dict[str, str]) -> tuple[Path, ...]:
        if self._options.known_hosts is not None:
            return (self._options.known_hosts,)
        own = _USERS_KNOWN_HOSTS if home_folder() else ("none",)
        usual = {"userknownhostsfile": own, "globalknownhostsfile": _SYSTEM_KNOWN_HOSTS}
        paths: list[Path] = []
        for key, names in usual.items():
            setting = settings.values.get(key, Setting("", key, names))
            if [word.lower() for word in setting.words] != ["none"]:
                paths += [home(expanded(setting, tokens, word), setting.where) for word in setting.words]
        return tuple(paths)


def _jumps(settings: HostSettings) -> list[str]:
    """Return the jump hosts. Raises `FormatError` for a ProxyCommand."""
    proxy = settings.values.get("proxy")
    if proxy is None or proxy.words[0].lower() == "none":
        return []
    if proxy.key == "proxycommand":
        raise _refusal(proxy)
    port = settings.address.port or _port(settings)
    return expanded(proxy, {name: _tokens(settings, port)[name] for name in "hnpr"}).split(",")


def _agent(settings: HostSettings, tokens: dict[str, str]) -> str | None:
    setting = settings.values.get("identityagent")
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


def _port(settings: HostSettings) -> int:
    text = settings.word("port") or "22"
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 65536):
        raise FormatError("not a port", subject=settings.values["port"].where, got=repr(text))
    return int(text)


def _tokens(settings: HostSettings, port: int) -> dict[str, str]:
    """Return the values of `%` tokens (ssh_config(5), TOKENS), except `%C`."""
    host_name = socket.gethostname()
    return {
        "d": str(home_folder() or os.sep),
        "h": settings.host,
        "i": str(os.getuid()),
        "k": settings.word("hostkeyalias") or settings.address.host,
        "L": host_name.partition(".")[0],
        "l": host_name,
        "n": settings.address.host,
        "p": str(port),
        "r": settings.user,
        "u": user_name(),
    }
