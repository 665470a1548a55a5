"""How many sessions one connection takes: two for files, if the server allows it, and one for commands."""

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from airgap.endpoints.ssh import Address, Ssh, SshHost, SshOptions
from tests.e2e.send.world import World
from tests.support.waits import GENEROUS


class WaitingStream:
    """Says that it is read, and yields nothing until it may."""

    def __init__(self, raw: bytes) -> None:
        self._raw = io.BytesIO(raw)
        self.begun, self.may = threading.Event(), threading.Event()

    def readinto(self, buffer: memoryview) -> int:
        self.begun.set()
        assert self.may.wait(GENEROUS)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()


def write_two(host: SshHost, names: tuple[str, str], *, together: bool) -> None:
    """Write two files; `together` if the first one cannot end before the second has."""
    first = WaitingStream(b"1" * 100_000)
    with ThreadPoolExecutor(2) as pool:
        one = pool.submit(host.write, names[0], first, 0, lambda _: None)
        assert first.begun.wait(GENEROUS)
        two = pool.submit(host.write, names[1], io.BytesIO(b"2" * 100_000), 0, lambda _: None)
        if together:
            two.result(GENEROUS)
        first.may.set()
        one.result(GENEROUS)
        two.result(GENEROUS)


@pytest.mark.parametrize(
    ("sessions", "together", "commands"),
    [(10, True, True), (3, True, True), (2, True, True), (1, False, False)],
)
def test_two_files_are_written_at_a_time_if_the_server_allows_it(
    world: World, sessions: int, together: bool, commands: bool
) -> None:
    far = world.sshd("far", f"MaxSessions {sessions}")
    options = SshOptions(identities=(world.key,), known_hosts=world.known, config_file=Path("/dev/null"))
    with Ssh(options) as ssh, closing(ssh.open(Address.parse(far.address))) as host:
        host.real_path(".")
        write_two(host, ("a", "b"), together=together)
        ran = host.run(["true"], 100)
        assert (ran is not None) is commands
        write_two(host, ("c", "d"), together=sessions > 2)
        assert {path.name: path.read_bytes() for path in far.home.iterdir()} == {
            "a": b"1" * 100_000, "b": b"2" * 100_000, "c": b"1" * 100_000, "d": b"2" * 100_000,
        }  # fmt: skip
