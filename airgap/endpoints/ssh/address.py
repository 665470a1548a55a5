"""The address of an SSH server as people write it: `[user@]host[:port]`."""

import re
from typing import Self

from airgap.errors import UsageError
from airgap.values import dataclass

# No part may begin with a dash, so that a program never reads it as an option.
_GRAMMAR = re.compile(
    r"(?:ssh://)?"
    r"(?:(?P<user>[A-Za-z0-9_][A-Za-z0-9_.@\\-]{0,63})@)?"
    r"(?:(?P<host>[A-Za-z0-9_][A-Za-z0-9_.-]{0,252})|\[(?P<v6>[0-9A-Fa-f:.]+(?:%[A-Za-z0-9_.-]+)?)\])"
    r"(?::(?P<port>[0-9]{1,5}))?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class Address:
    """A server as it was written; `host` may be an alias that ssh_config resolves."""

    host: str
    user: str | None = None
    port: int | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Parse `[user@]host[:port]`, with or without `ssh://`. Raises `UsageError`."""
        match = _GRAMMAR.fullmatch(text)
        port = int(match["port"]) if match and match["port"] else None
        if match is None or (port is not None and not 0 < port < 65536):
            raise UsageError("not a host", want="[USER@]HOST[:PORT]", got=repr(text))
        return cls(match["host"] or match["v6"], match["user"], port)

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{user}{host}" + (f":{self.port}" if self.port else "")
