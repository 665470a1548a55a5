"""Debian's docker-registry (2.8) on a loopback port of its own."""

import json
import secrets
import shutil
from pathlib import Path
from typing import Any, Self

from tests.support.parts import Service, require_tool, run


class RealRegistry:
    """A running registry over `folder`: plain by default, with a login, or over TLS from a CA of its own.

    Deleting and tag lists work; the referrers API of OCI 1.1 does not exist in 2.8.
    """

    user = "alice"

    def __init__(self, folder: Path, *, auth: bool = False, tls: bool = False) -> None:
        folder.mkdir(parents=True)
        self.folder = folder
        self.password = secrets.token_hex(8)
        self.ca_file = folder / "ca.pem" if tls else None
        config = self._config(auth=auth, tls=tls)
        (folder / "config.yml").write_text(json.dumps(config))
        binary = require_tool("docker-registry")
        self._service = Service([binary, "serve", str(folder / "config.yml")], folder / "registry.log")
        listening = self._service.wait_for_line(r"listening on (127\.0\.0\.1:\d+)", "docker-registry")
        self.host = listening[1]

    @property
    def log(self) -> str:
        """What the registry has logged, one line a request included."""
        return self._service.log.read_text(errors="replace")

    @property
    def pid(self) -> int:
        """Its process."""
        return self._service.pid

    def stop(self) -> None:
        self._service.stop()
        shutil.rmtree(self.folder)

    def _config(self, *, auth: bool, tls: bool) -> dict[str, Any]:
        http: dict[str, Any] = {"addr": "127.0.0.1:0", "secret": secrets.token_hex(8)}
        config: dict[str, Any] = {
            "version": "0.1",
            "log": {"level": "info"},
            "storage": {"filesystem": {"rootdirectory": f"{self.folder}/data"}, "delete": {"enabled": True}},
            "http": http,
        }
        if auth:
            config["auth"] = {"htpasswd": {"realm": "airgap tests", "path": str(self._logins())}}
        if tls:
            certificate, key = make_certificate(self.folder)
            http["tls"] = {"certificate": str(certificate), "key": str(key)}
        return config

    def _logins(self) -> Path:
        line = run(require_tool("htpasswd"), "-B", "-b", "-n", self.user, self.password).stdout
        path = self.folder / "htpasswd"
        path.write_bytes(line)
        return path

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 and localhost and its key, signed by a new CA in `folder`/ca.pem."""
    openssl = require_tool("openssl")
    new_key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2")
    ca, ca_key = folder / "ca.pem", folder / "ca.key"
    run(openssl, "req", "-x509", *new_key, "-subj", "/CN=airgap test CA", "-keyout", ca_key, "-out", ca)
    certificate, key = folder / "server.pem", folder / "server.key"
    run(
        *(openssl, "req", "-x509", *new_key, "-subj", "/CN=localhost", "-keyout", key, "-out", certificate),
        *("-CA", ca, "-CAkey", ca_key, "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"),
        *("-addext", "basicConstraints=critical,CA:false"),
    )
    return certificate, key
