"""Progress says what it waits for, once the other side has everything and is still at work."""

import io
import threading

import pytest

from airgap.progress import Silent, Wait


class Notes(Silent):
    """Keeps the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.noted = threading.Event()

    def note(self, text: str) -> None:
        self.notes.append(text)
        self.noted.set()


def test_a_long_wait_after_the_last_chunk_is_noted() -> None:
    progress = Notes()
    with Wait(progress, "docker is unpacking", seconds=0) as wait:
        assert list(wait.then_wait([b"a", b"b"])) == [b"a", b"b"]
        assert progress.noted.wait(60)
    assert progress.notes == ["docker is unpacking"]


def test_a_short_wait_is_not_noted() -> None:
    progress = Notes()
    with Wait(progress, "docker is unpacking", seconds=3600) as wait:
        list(wait.then_wait([b"a"]))
        list(wait.then_wait([b"a"]))  # sent again
    assert progress.notes == []


def test_content_that_fails_is_not_waited_for() -> None:
    progress = Notes()

    def broken():
        yield b"a"
        raise OSError

    with pytest.raises(OSError), Wait(progress, "docker is unpacking", seconds=0) as wait:
        list(wait.then_wait(broken()))
    assert progress.notes == []


def test_a_stream_is_waited_for_after_its_last_byte() -> None:
    progress = Notes()
    with Wait(progress, "the registry is storing it", seconds=0) as wait:
        stream = wait.after(io.BytesIO(b"abc"), 3)
        buffer = memoryview(bytearray(2))
        assert stream.readinto(buffer) == 2
        assert progress.notes == []
        assert stream.readinto(buffer) == 1
        assert progress.noted.wait(60)
        stream.close()
