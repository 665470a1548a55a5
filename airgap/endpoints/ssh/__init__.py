"""Other machines over SSH: host keys known beforehand, logins by key, files over SFTP, commands.

address      `[user@]host[:port]`
config_files ssh_config files: which settings apply to a host
config       the route to a host, as a chain of hops
known_hosts  the known keys of hosts
agent        the ssh-agent
login        key files and the agent's keys, offered one after the other
transport    paramiko's transport, with our algorithms and limits
connect      a connection over its hops
opening      starts SFTP, and explains why it does not start
sftp         files
command      commands, and a command as a socket
host         a machine as `remote.Host`, made of all these
"""

from collections.abc import Callable
from typing import Self

from airgap.endpoints.ssh.address import Address
from airgap.endpoints.ssh.command import PipeSocket
from airgap.endpoints.ssh.config import SshConfig, SshOptions
from airgap.endpoints.ssh.connect import SshConnection
from airgap.endpoints.ssh.host import SshHost
from airgap.endpoints.ssh.login import Identities

_HOST_OPTION = {"podman": "--url"}

__all__ = ["Address", "Ssh", "SshHost", "SshOptions"]


class Ssh:
    """Opens hosts with the options of one command. Raises as `SshConfig` does."""

    def __init__(self, options: SshOptions | None = None) -> None:
        options = options or SshOptions()
        self._config = SshConfig(options)
        self._identities = Identities()
        self._identities.prepare(options.identities, options.passphrase)
        self._engines: list[SshHost] = []

    def open(self, address: Address) -> SshHost:
        """Connect and log in. Raises `TransportError`, `KeyFileError`, `FormatError`."""
        return SshHost(SshConnection(self._config.route(address), self._identities))

    def dial_engine(self, url: str, program: str) -> Callable[[], PipeSocket]:
        """Connect to `ssh://[user@]host[:port][/socket]`; the returned function opens connections to its
        engine, through the client program there: `docker` (18.09 or later) or `podman`. A socket's path
        selects an engine other than the client's default.
        """
        scheme, slashes, rest = url.rpartition("://")
        server, slash, path = rest.partition("/")
        host = self.open(Address.parse(f"{scheme}{slashes}{server}"))
        self._engines.append(host)
        socket = [_HOST_OPTION.get(program, "--host"), f"unix:///{path}"] if slash and path else []
        return lambda: host.pipe([program, *socket, "system", "dial-stdio"])

    def hang_up(self) -> None:
        """Close the connections to engines; calls that wait for an answer fail."""
        while self._engines:
            self._engines.pop().close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.hang_up()
