"""Byte streams for tests."""


class Bytes:
    """Hands out `raw`, at most `step` bytes at a time."""

    def __init__(self, raw: bytes, step: int = 1 << 20) -> None:
        self._rest = raw
        self._step = step
        self.closed = False

    def readinto(self, buffer: memoryview, /) -> int:
        piece = self._rest[: min(self._step, len(buffer))]
        self._rest = self._rest[len(piece) :]
        buffer[: len(piece)] = piece
        return len(piece)

    def close(self) -> None:
        self.closed = True


class BrokenStream(Bytes):
    """Hands out `raw` and then raises `error`, where its end would be."""

    def __init__(self, raw: bytes, error: BaseException) -> None:
        super().__init__(raw)
        self._error = error

    def readinto(self, buffer: memoryview, /) -> int:
        got = super().readinto(buffer)
        if not got:
            raise self._error
        return got
