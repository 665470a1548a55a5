"""Connections to Docker engines: a unix socket, TCP with or without TLS, and dialled ones, each of which is a
separate SSH channel.

Environment settings for HTTP in general (CAs, proxies, logins in .netrc) are ignored here.
"""

import os
from collections.abc import Callable
from typing import Any, cast

import requests
from docker.transport.unixconn import UnixHTTPAdapter, UnixHTTPConnectionPool
from requests import PreparedRequest, RequestException, Response
from requests.adapters import HTTPAdapter
from urllib3 import disable_warnings
from urllib3.connection import HTTPConnection
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.exceptions import HTTPError, InsecureRequestWarning
from urllib3.util.ssl_ import create_urllib3_context

from airgap.endpoints.docker.context import EngineAddress, EngineTls
from airgap.endpoints.wire import bounded_pools, bounded_response
from airgap.errors import EndpointError, describe_cause

Dial = Callable[[], object]
"""Opens one more connection to an engine: a socket-like object, whose `idle` is true if it is open and has no
bytes to read.
"""
OpenSsh = Callable[[str, str], Dial]
"""Connects to `ssh://[user@]host[:port][/socket]`, to the engine of a client program there (`docker`,
`podman`). It and the dialler raise our errors.
"""
ChooseProxy = Callable[[str], str | None]
"""The URL of the proxy, with its login, for an `http://` or `https://` URL."""

_URL = "http://docker.ssh:2375"
"""Never looked up: all requests to it go through the dialler."""
_LOCAL = "http+docker://localhost"
"""Never looked up either: the adapter has the socket's path."""

_X509_STRICT, _X509_PARTIAL_CHAIN = 0x20, 0x80000  # X509_V_FLAG_* of OpenSSL

WIRE_ERRORS = (RequestException, HTTPError, OSError)
"""The exceptions of requests and urllib3 for a failed connection, or data that is not HTTP."""


class EngineSession(requests.Session):
    """A session that uses only one adapter; `base_url` is the engine's."""

    def __init__(self, base_url: str, adapter: HTTPAdapter) -> None:
        super().__init__()
        self.base_url = base_url
        self.trust_env = False
        self.headers["Accept-Encoding"] = "identity"
        self.adapters.clear()
        self.mount(base_url.partition("://")[0] + "://", adapter)

    def get_redirect_target(self, resp: Response) -> None:
        """Never follow a redirect: a real engine does not redirect, and a hostile one would make this machine
        send requests to its own network.
        """


def dialled(dial: Dial) -> EngineSession:
    """Return a session over connections that `dial` opens."""
    return EngineSession(_URL, _Adapter(dial))


def local(path: str, timeout: int) -> EngineSession:
    """Return a session over a unix socket; a relative path starts at the current folder.

    `timeout` is the longest time, in seconds, without a byte.
    """
    socket = os.path.abspath(path)  # noqa: PTH100 - a link stays a link
    return EngineSession(_LOCAL, cast("HTTPAdapter", _UnixAdapter(f"http+unix://{socket}", timeout)))


def remote(address: EngineAddress, proxy: ChooseProxy) -> EngineSession:
    """Return a session over TCP, to a `tcp://` address; with TLS only the engine's own CA is trusted.

    Raises `EndpointError` if the certificates cannot be used.
    """
    rest = address.url.removeprefix("tcp://")
    if address.tls is None:
        session = EngineSession(f"http://{rest}", _BoundedAdapter())
    else:
        session = EngineSession(f"https://{rest}", _TlsAdapter(address.tls))
    if (chosen := proxy(session.base_url)) is not None:
        session.proxies = {"http": chosen, "https": chosen}
    return session


class _UnixPool(UnixHTTPConnectionPool):
    def _new_conn(self) -> Any:
        connection: Any = super()._new_conn()
        connection.response_class = bounded_response()
        return connection


class _UnixAdapter(UnixHTTPAdapter):
    def get_connection(self, url: Any, proxies: Any = None) -> Any:  # noqa: ARG002
        with self.pools.lock:
            if (pool := self.pools.get(url)) is None:
                pool = _UnixPool(url, self.socket_path, self.timeout, maxsize=self.max_pool_size)
                self.pools[url] = pool
        return pool


class _BoundedAdapter(HTTPAdapter):
    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options)
        self.poolmanager.pool_classes_by_scheme = bounded_pools()

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **options)
        manager.pool_classes_by_scheme = bounded_pools()
        return manager


class _TlsAdapter(_BoundedAdapter):
    """TLS with the engine's own certificates only; settings of requests or its caller are ignored."""

    def __init__(self, tls: EngineTls) -> None:
        self._context = create_urllib3_context()
        # As docker does, on every Python: CAs in ca.pem are trusted, even if they do not conform to RFC 5280.
        self._context.verify_flags = (self._context.verify_flags & ~_X509_STRICT) | _X509_PARTIAL_CHAIN
        self._verify = tls.verify
        self._context.check_hostname = tls.verify
        if not tls.verify:  # our own message says so
            disable_warnings(InsecureRequestWarning)
        if tls.ca is None:
            self._context.load_default_certs()
        try:
            if tls.ca is not None:
                self._context.load_verify_locations(tls.ca)
            if tls.certificate is not None:
                # Without a password OpenSSL would ask on the terminal for that of an encrypted key.
                self._context.load_cert_chain(tls.certificate, tls.key, password="")
        except (OSError, ValueError) as error:
            files = ", ".join(str(path) for path in (tls.ca, tls.certificate, tls.key) if path)
            raise EndpointError(
                "cannot use the certificates for the engine",
                subject=files,
                want="PEM files that this user may read, and a key that is not encrypted",
                got=describe_cause(error) if isinstance(error, FileNotFoundError | PermissionError) else None,
            ) from error
        super().__init__()

    def init_poolmanager(self, *args: Any, **options: Any) -> None:
        super().init_poolmanager(*args, **options, ssl_context=self._context)

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:
        return super().proxy_manager_for(proxy, **options, ssl_context=self._context)

    def build_connection_pool_key_attributes(self, *args: Any, **options: Any) -> Any:
        host, _ = super().build_connection_pool_key_attributes(*args, **options)
        return host, {"cert_reqs": "CERT_REQUIRED" if self._verify else "CERT_NONE"}

    def cert_verify(self, *_: Any) -> None:
        """Do nothing: the inherited method would add the CAs of requests."""


class _Connection(HTTPConnection):
    """A connection that `dial`, given by its pool, opens."""

    response_class = bounded_response()

    def __init__(self, *args: Any, dial: Dial, **options: Any) -> None:
        super().__init__(*args, **options)
        self._dial = dial

    def connect(self) -> None:
        self.sock = cast(Any, self._dial())
        self.sock.settimeout(self.timeout)

    @property
    def is_connected(self) -> bool:
        """Return whether it can be used again: each new one starts a program on the remote machine."""
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
