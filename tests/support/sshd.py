"""OpenSSH servers on loopback for one test: own host key, own configuration, own port, logins by key."""

import shlex
import socket
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from tests.support.parts import SYSTEM_PATH, Service, require_root, require_tool, run

USER = "root"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_key(path: Path, kind: str = "ed25519", passphrase: str = "") -> Path:
    """A key pair at `path` and `path`.pub."""
    run(require_tool("ssh-keygen"), "-q", "-t", kind, "-N", passphrase, "-C", "", "-f", path)
    return path


@dataclass
class Sshd:
    """A server whose SFTP starts in `home`. Its commands find programs of the test's own in `bin` first;
    `lines` are settings that win over those below.
    """

    folder: Path
    identity: Path
    lines: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    host_key: Path | None = None
    port: int = 0
    sftp: str | None = None
    """What speaks SFTP, instead of the server itself; empty for nothing."""

    def __post_init__(self) -> None:
        require_root()
        sshd = require_tool("sshd")
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)  # privilege separation wants it
        for part in (self.folder, self.home, self.bin):
            part.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        self.key = self.host_key or make_key(self.folder / "host_key")
        self.port = self.port or free_port()
        (self.folder / "sshd_config").write_text(self._config())
        self._service = Service(
            [sshd, "-D", "-e", "-f", str(self.folder / "sshd_config")], self.folder / "sshd.log"
        )
        self._service.wait_for_line(f"listening on 127.0.0.1 port {self.port}", "sshd")

    @property
    def pid(self) -> int:
        """Its first process."""
        return self._service.pid

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def bin(self) -> Path:
        return self.folder / "bin"

    @property
    def address(self) -> str:
        return f"{USER}@127.0.0.1:{self.port}"

    @property
    def known_line(self) -> str:
        """The server's line in a file of known hosts."""
        kind, blob, *_ = self.key.with_suffix(".pub").read_text().split()
        return f"[127.0.0.1]:{self.port} {kind} {blob}\n"

    def log(self) -> str:
        return (self.folder / "sshd.log").read_text(errors="replace")

    def stop(self) -> None:
        self._service.stop()

    def _config(self) -> str:
        # HOME keeps the settings of the developer's own shell out.
        environment = {"PATH": f"{self.bin}:{SYSTEM_PATH}", "HOME": str(self.home), **self.environment}
        words = [f'{name}="{value}"' for name, value in environment.items()]
        return "\n".join(
            [
                *self.lines,  # the first value of a setting wins
                f"Port {self.port}",
                "ListenAddress 127.0.0.1",
                f"HostKey {self.key}",
                "PidFile none",
                "StrictModes no",
                "UsePAM no",
                "LogLevel VERBOSE",
                "MaxStartups 100",
                "PermitRootLogin prohibit-password",
                "PasswordAuthentication no",
                "KbdInteractiveAuthentication no",
                f"AuthorizedKeysFile {self.identity}.pub",
                f"SetEnv {' '.join(words)}",
                *self._subsystem(),
                "",
            ]
        )

    def _subsystem(self) -> list[str]:
        if self.sftp == "":
            return []
        return [f"Subsystem sftp {self.sftp or f'internal-sftp -d {shlex.quote(str(self.home))}'}"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()
