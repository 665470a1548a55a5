"""A sending site, the hosts that it sends to, and what arrived there."""

import json
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.airgap import Answer, Side
from tests.support.bundles import Gap
from tests.support.line import Cut, Line
from tests.support.sshd import Sshd

MIB = 1 << 20
SIZES = (5, 4, 3)
"""MiB of the layers: together 12 MiB."""
FAR = "airgap-bundles/edge-0001"
ENVELOPE = "bundle.dsse.json"


@dataclass(frozen=True)
class World:
    """A sending site with a bundle and a key, and the servers that a test starts."""

    folder: Path
    gap: Gap
    side: Side
    key: Path
    known: Path
    stack: ExitStack

    def sshd(self, name: str = "far", *lines: str, folder: Path | None = None, **options: Any) -> Sshd:
        """A server that is known."""
        server = self.stack.enter_context(Sshd(folder or self.folder / name, self.key, lines, **options))
        with self.known.open("a") as file:
            file.write(server.known_line)
        return server

    @property
    def options(self) -> tuple[object, ...]:
        return self.options_with(self.key)

    def options_with(self, *keys: Path) -> tuple[object, ...]:
        """No settings of OpenSSH, the known hosts of this test, and these keys; without one, the agent's."""
        identities = [word for key in keys for word in ("--identity", key)]
        return (*identities, "--known-hosts", self.known, "--ssh-config", "/dev/null")

    def send(self, *words: object, code: int = 0) -> Answer:
        return self.side("send", self.gap.bundle, *words, *self.options, code=code)

    def line_to(self, server: Sshd, *cuts: Cut) -> Line:
        line = self.stack.enter_context(Line(f"127.0.0.1:{server.port}", *cuts))
        port = line.host.rpartition(":")[2]
        with self.known.open("a") as file:
            file.write(server.known_line.replace(f":{server.port} ", f":{port} "))
        return line

    def arrived(self, server: Sshd, folder: str = FAR) -> bool:
        """Whether exactly the bundle is there, byte for byte."""
        return files_of(server.home / folder) == files_of(self.gap.bundle)

    def ended(self) -> list[dict[str, Any]]:
        """The end records of all sendings."""
        lines = [json.loads(line) for line in (self.side.home / "ledger.jsonl").read_text().splitlines()]
        return [line for line in lines if line["event"] == "send" and line["phase"] == "end"]


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()
    }


def total(gap: Gap) -> int:
    return sum(map(len, files_of(gap.bundle).values()))


def host(answer: Answer) -> dict[str, Any]:
    [found] = answer.json["hosts"]
    return found


def with_begin(world: World) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in (world.side.home / "ledger.jsonl").read_text().splitlines()]
    by_seq = {line["seq"]: line for line in lines}
    return [by_seq[end["begin"]] | end for end in world.ended()]


def put_program(server: Sshd, name: str, script: str) -> None:
    path = server.bin / name
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
