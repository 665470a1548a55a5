"""Real containerds and podmans for a test session, each with its own state, apart from everything else."""

import json
import os
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any, Self

from tests.support.apart import on_host, short_folder
from tests.support.parts import CommandFailedError, Service, require, require_root, require_tool, run
from tests.support.sid import inside, sid_root


class RealContainerd:
    """A running containerd with its CRI plugin. Tests take a namespace each: it is never emptied."""

    def __init__(self, folder: Path, command: list[str], ctr: list[str]) -> None:
        self.folder = folder
        self.socket = folder / "c.sock"
        self.programs = folder / "bin"
        self.programs.mkdir()
        wrapper = self.programs / "ctr"
        wrapper.write_text(f'#!/bin/sh\nexec {shlex.join(ctr)} "$@"\n')
        wrapper.chmod(0o755)
        self._service = Service(command, folder / "containerd.log")
        try:
            self._await()
        except BaseException:
            self.stop()
            raise

    @property
    def environment(self) -> dict[str, str]:
        """What makes `--to containerd` mean this one."""
        return {"CONTAINERD_ADDRESS": str(self.socket), "PATH": f"{self.programs}:{os.environ['PATH']}"}

    def ctr(
        self,
        namespace: str,
        *words: str | Path,
        input: bytes | None = None,  # noqa: A002 - subprocess's own word
    ) -> subprocess.CompletedProcess[bytes]:
        """Its own ctr; raises CommandFailedError if that fails."""
        argv = [self.programs / "ctr", "--address", self.socket, "--namespace", namespace, *words]
        return run(*argv, input=input)

    def names(self, namespace: str) -> dict[str, str]:
        """The digest that each name has."""
        lines = self.ctr(namespace, "images", "ls").stdout.decode().splitlines()[1:]
        return {line.split()[0]: line.split()[2] for line in lines}

    def whole(self, namespace: str) -> set[str]:
        """The names whose content is complete and unpacked, as ctr judges."""
        return set(self.ctr(namespace, "images", "check", "--quiet").stdout.decode().split())

    def stop(self) -> None:
        self._service.stop()
        shutil.rmtree(self.folder)

    def _await(self) -> None:
        for _ in self._service.poll("containerd"):
            try:
                self.ctr("default", "version")
            except CommandFailedError:
                continue
            return

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _config(folder: Path, version: int) -> Path:
    path = folder / "config.toml"
    path.write_text(
        f'version = {version}\nroot = "{folder}/root"\nstate = "{folder}/state"\n'
        f'[grpc]\n  address = "{folder}/c.sock"\n[ttrpc]\n  address = "{folder}/c.sock.ttrpc"\n'
    )
    return path


def start_containerd16() -> RealContainerd:
    """Debian 12's own containerd (1.6)."""
    require_root()
    containerd, ctr = require_tool("containerd"), require_tool("ctr")
    version = run(containerd, "--version").stdout.decode()
    require(" 1.6." in version, f"containerd 1.6 is not installed: {version.strip()}")
    folder = short_folder()
    return RealContainerd(folder, on_host(containerd, "--config", _config(folder, 2)), [ctr])


def start_containerd2() -> RealContainerd:
    """Debian sid's containerd (2.x)."""
    root = sid_root()
    folder = short_folder()
    command = inside(root, "/usr/bin/containerd", "--config", _config(folder, 3), lives_long=True)
    return RealContainerd(folder, command, inside(root, "/usr/bin/ctr"))


class RealPodman:
    """A running `podman system service`, and podman itself over the same images."""

    def __init__(self, folder: Path, podman: list[str]) -> None:
        self.folder = folder
        self.socket = folder / "podman.sock"
        self._podman = podman
        service = ("system", "service", "--time=0", f"unix://{self.socket}")
        self._service = Service([*podman, *service], folder / "podman.log")
        for _ in self._service.poll("podman"):
            if self.socket.exists():
                break

    def podman(self, *words: str) -> subprocess.CompletedProcess[bytes]:
        return run(*self._podman, *words)

    def inspect(self, name: str) -> dict[str, Any]:
        [found] = json.loads(self.podman("image", "inspect", name).stdout)
        return found

    def digests(self, name: str) -> list[str]:
        """The digests of manifests and indexes by which podman knows the image."""
        return sorted(name.rpartition("@")[2] for name in self.inspect(name)["RepoDigests"])

    def names(self) -> set[str]:
        listed = self.podman("images", "--format", "{{.Repository}}:{{.Tag}}").stdout.decode()
        return set(listed.split())

    def reset(self) -> None:
        self.podman("rmi", "--all", "--force")
        assert self.names() == set()

    def stop(self) -> None:
        self._service.stop()
        shutil.rmtree(self.folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


def _storage(folder: Path) -> list[str]:
    return ["--root", f"{folder}/root", "--runroot", f"{folder}/run", "--storage-driver", "overlay"]


def start_podman4() -> RealPodman:
    """Debian 12's own podman (4.3)."""
    require_root()
    podman = require_tool("podman")
    version = run(podman, "--version").stdout.decode()
    require(" 4." in version, f"podman 4 is not installed: {version.strip()}")
    folder = short_folder()
    return RealPodman(folder, on_host(podman, *_storage(folder)))


def start_podman5() -> RealPodman:
    """Debian sid's podman (5.x)."""
    root = sid_root()
    folder = short_folder()
    return RealPodman(folder, inside(root, "/usr/bin/podman", *_storage(folder), lives_long=True))
