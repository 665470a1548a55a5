"""Real Docker engines for a test session: started apart from everything else, emptied for each test."""

import http.client
import json
import shutil
import socket
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any, Self

from tests.support.apart import on_host, short_folder
from tests.support.parts import CommandFailedError, Service, require, require_root, require_tool, run
from tests.support.sid import inside, sid_root
from tests.support.waits import GENEROUS


def _config(folder: Path, extra: dict[str, Any]) -> dict[str, Any]:
    """What keeps an engine inside its folder and its hands off the machine's network."""
    return {
        "hosts": [f"unix://{folder}/docker.sock"],
        "data-root": f"{folder}/data",
        "exec-root": f"{folder}/exec",
        "pidfile": f"{folder}/pid",
        "bridge": "none",
        "iptables": False,
        "ip-forward": False,
        **extra,
    }


class _Connection(http.client.HTTPConnection):
    """To a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(GENEROUS)
        self.sock.connect(str(self._path))


class Engine:
    """A running dockerd with its own state, in namespaces of its own, and a client that talks to it.

    There is no bridge and no firewall rule: it pulls (loopback, in plain HTTP too), pushes, loads,
    saves, tags, inspects and creates, and does not run containers.
    """

    def __init__(self, folder: Path, command: list[str], client: str) -> None:
        self.folder = folder
        self.socket = folder / "docker.sock"
        self.host = f"unix://{self.socket}"
        self._client = client
        self._service = Service(command, folder / "dockerd.log")
        try:
            self.version = self._await_version()
            self.kind = f"{self.version} {self._store()}"
        except BaseException:
            self.stop()
            raise

    @property
    def pid(self) -> int:
        """Its first process."""
        return self._service.pid

    def docker(self, *args: str | Path, input: bytes | None = None) -> subprocess.CompletedProcess[bytes]:  # noqa: A002
        """Runs the docker client on this engine; raises CommandFailedError, with all output, if it fails."""
        # An empty context: a name from the developer's settings would win over DOCKER_HOST.
        return run(self._client, *args, input=input, env={"DOCKER_HOST": self.host, "DOCKER_CONTEXT": ""})

    def inspect(self, reference: str) -> dict[str, Any]:
        """What the engine says about a local image."""
        [found] = json.loads(self.docker("image", "inspect", reference).stdout)
        return found

    def images(self) -> list[str]:
        """The ID of every image, also of those without a name."""
        return sorted({image["Id"] for image in self._ask("GET", "/images/json?all=1")})

    def reset(self) -> None:
        """Remove every container and image with its data, without a client: each test begins with this."""
        for container in self._ask("GET", "/containers/json?all=1"):
            self._ask("DELETE", f"/containers/{container['Id']}?force=1")
        images = self.images()
        for image in images:
            self._ask("DELETE", f"/images/{image}?force=1")
        assert not images or self.images() == []

    def _ask(self, method: str, path: str) -> list[dict[str, Any]]:
        """What the engine's API answers with; nothing for what went together with something else."""
        with closing(_Connection(self.socket)) as connection:
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
        assert answer.status in (200, 204, 404), body
        return json.loads(body) if answer.status == 200 else []

    def stop(self) -> None:
        """Ends the engine and removes its folder; its mounts end with its namespace."""
        self._service.stop()
        shutil.rmtree(self.folder)

    def _await_version(self) -> str:
        for _ in self._service.poll("dockerd"):
            try:
                return (
                    self.docker("version", "--format", "{{.Server.Version}}")
                    .stdout.decode()
                    .split("+")[0]
                    .strip()
                )
            except CommandFailedError:
                continue
        raise AssertionError

    def _store(self) -> str:
        status = self.docker("info", "--format", "{{json .DriverStatus}}").stdout
        return "containerd" if b"io.containerd.snapshotter" in status else "classic"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def start_docker20(*, settings: dict[str, Any] | None = None) -> Engine:
    """Debian 12's own engine (20.10, classic store), with more `settings` in its daemon.json."""
    require_root()
    dockerd, client = require_tool("dockerd"), require_tool("docker")
    version = run(dockerd, "--version").stdout.decode()
    require("version 20.10." in version, f"dockerd 20.10 is not installed: {version.strip()}")
    folder = short_folder()
    # 20.10 would write a key of its own to /etc/docker.
    config = _config(folder, {"deprecated-key-path": f"{folder}/key.json", **(settings or {})})
    (folder / "daemon.json").write_text(json.dumps(config))
    return Engine(folder, on_host(dockerd, "--config-file", folder / "daemon.json"), client)


def start_docker28(*, containerd_store: bool, settings: dict[str, Any] | None = None) -> Engine:
    """Debian sid's engine (28.x) with either image store, and more `settings` in its daemon.json."""
    root, client = sid_root(), require_tool("docker")
    folder = short_folder()
    features = {"containerd-snapshotter": containerd_store}
    config = _config(folder, {"ip6tables": False, "features": features, **(settings or {})})
    (folder / "daemon.json").write_text(json.dumps(config))
    command = inside(root, "dockerd", "--config-file", folder / "daemon.json", lives_long=True)
    return Engine(folder, command, client)
