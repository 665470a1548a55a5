"""Connections to Docker engines: the SDK's own, and such as somebody else dials, each of which is one SSH
channel of its own.
"""

from collections.abc import Callable
from typing import Any, cast

from docker import APIClient
from requests import PreparedRequest, RequestException, Response
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import HTTPError

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
_NOT_ASKED = "1.41"
"""Keeps the SDK from asking for the version by itself: it would read an answer of any length."""

WIRE_ERRORS = (RequestException, HTTPError, OSError)
"""What requests and urllib3 raise when a connection fails, or what comes over it is no HTTP."""


class Session(APIClient):
    """The SDK's connections. Its calls are for nobody: see `docker_client`."""

    def __init__(self, **options: Any) -> None:
        super().__init__(version=_NOT_ASKED, **options)
        self.headers["Accept-Encoding"] = "identity"

    def get_redirect_target(self, resp: Response) -> None:
        """Nowhere: an engine that sends its client elsewhere is none, and would have this machine ask its
        own neighbours. Without a target the answer is not read for that, either.
        """


def dialled(dial: Dial, timeout: int) -> Session:
    """Over connections that `dial` opens."""
    session = Session(base_url=_URL, timeout=timeout)
    session.trust_env = False  # no proxy, no netrc
    session.adapters.clear()
    session.mount("http://", _Adapter(dial))
    return session


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
