"""OpenSSH servers on loopback that share a key, and stock commands to them."""

import shutil
from pathlib import Path

from tests.bench.measure import Daemon
from tests.support.parts import require_tool
from tests.support.sshd import Sshd, make_key


class Hosts:
    """Servers that are started when they are needed."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.key = make_key(folder / "id")
        self.known = folder / "known_hosts"
        self._folder = folder
        self._servers: list[Sshd] = []

    def take(self, count: int) -> list[Sshd]:
        """Return so many servers, with an empty folder `arrived` in the home of each."""
        while len(self._servers) < count:
            self._servers.append(Sshd(self._folder / str(len(self._servers)), self.key))
        self.known.write_text("".join(server.known_line for server in self._servers))
        for server in self._servers:
            shutil.rmtree(server.home / "arrived", ignore_errors=True)
            (server.home / "arrived").mkdir()
        return self._servers[:count]

    @property
    def daemon(self) -> Daemon:
        """All servers that were started."""
        return Daemon(tuple(server.pid for server in self._servers))

    def command(self, program: str, *words: str) -> list[str]:
        """Return the command line of a stock program, without settings of the machine."""
        options = ["-F", "none", "-o", f"UserKnownHostsFile={self.known}", "-o", "IdentitiesOnly=yes"]
        return [require_tool(program), "-q", *options, "-i", str(self.key), *words]

    def close(self) -> None:
        """Stop all servers."""
        for server in self._servers:
            server.stop()
