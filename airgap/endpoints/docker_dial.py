"""The Docker SDK over connections that somebody else dials: each is one SSH channel of its own."""

from collections.abc import Callable
from typing import Any, cast

from docker import APIClient
from requests import PreparedRequest
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool

Dial = Callable[[], object]
"""Opens one more connection to an engine: something like a socket, whose `idle` tells whether it is open
and has nothing to read.
"""
OpenSsh = Callable[[str, str], Dial]
"""Opens the way to `ssh://[user@]host[:port]`, to the engine of a client program there (`docker`, `podman`).
Raises errors of ours, as the dialling does.
"""

_URL = "http://docker.ssh:2375"
"""Never looked up: whatever is asked of it goes through the dialler."""
_OLDEST = "1.41"
NO_REDIRECTS = 0
"""An engine that sends its client elsewhere is none, and would have this machine ask its own neighbours."""


def connect(dial: Dial, timeout: int) -> APIClient:
    """A client that speaks the engine's own API version."""
    with _client(dial, timeout, _OLDEST) as client:
        found = client.version(api_version=False)
    return _client(dial, timeout, str(found.get("ApiVersion")))


def _client(dial: Dial, timeout: int, version: str) -> APIClient:
    client = APIClient(base_url=_URL, version=version, timeout=timeout)
    client.trust_env = False  # no proxy, no netrc
    client.adapters.clear()
    client.mount("http://", _Adapter(dial))
    client.max_redirects = NO_REDIRECTS
    return client


class _Connection(HTTPConnection):
    """Its `dial` is given by the pool, with which it was made."""

    def __init__(self, *args: Any, dial: Dial, **options: Any) -> None:
        super().__init__(*args, **options)
        self._dial = dial

    def connect(self) -> None:
        self.sock = cast(Any, self._dial())
        self.sock.settimeout(self.timeout)

    @property
    def is_connected(self) -> bool:
        """Whether it may be used once more: each new one costs a program's start on the far side."""
        return self.sock is not None and bool(getattr(self.sock, "idle", False))


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _Adapter(HTTPAdapter):
    def __init__(self, dial: Dial) -> None:
        super().__init__()
        self._pool = _Pool("docker.ssh", maxsize=8, dial=dial)

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> Any:
        return self._pool

    def request_url(self, request: PreparedRequest, proxies: Any) -> str:  # noqa: ARG002
        return str(request.path_url)

    def close(self) -> None:
        self._pool.close()
        super().close()
