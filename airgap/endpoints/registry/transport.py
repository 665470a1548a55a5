"""One HTTP exchange: connections, TLS, and errors on the wire."""

import contextlib
import ssl
import threading
from collections.abc import Mapping
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    NewConnectionError,
    ProxyError,
    ReadTimeoutError,
    SSLError,
)
from urllib3.util import make_headers

from airgap import __version__
from airgap.endpoints.registry.address import Origin, inside, origin
from airgap.endpoints.registry.body import Body, Download, Upload, UploadStopped, endless
from airgap.endpoints.registry.config import DOCKER_CERTS, RegistryOptions
from airgap.endpoints.registry.errors import TemporaryError, TlsFailedError
from airgap.endpoints.registry.proxies import Proxy
from airgap.endpoints.registry.reach import Zone, is_trusted, may_connect, zone_of
from airgap.endpoints.wire import EndlessAnswerError, SlowAnswerError, bounded_pools
from airgap.errors import EndpointError, UsageError, describe_cause

_CLOCK = "compare the clocks of this machine and the registry with the dates of its certificate"
_NAME = "the certificate must list this name or address as subjectAltName; its common name is ignored"
_CERTIFICATE_HINTS = (
    dict.fromkeys((18, 19, 20, 21), "name the registry's CA with --ca-file")
    | dict.fromkeys((9, 10), _CLOCK)
    | dict.fromkeys((62, 64), _NAME)
)
"""Hints by X509_V_ERR_* of OpenSSL."""
_NOT_TLS = frozenset({"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "UNKNOWN_PROTOCOL"})
_HOSTS = 8
"""Hosts whose connections are kept: registry, token service, blob storage and a few others."""
_WANT_CERTIFICATE = frozenset({"TLSV13_ALERT_CERTIFICATE_REQUIRED", "SSLV3_ALERT_HANDSHAKE_FAILURE"})
_SHORT = 8 << 10
"""A remainder of up to this many bytes is read instead of cutting the connection."""
_COMMIT_RATE = 10_000_000
"""Bytes a second at which a slow registry checks and stores an upload before it answers."""


class Response:
    """An answer whose body has not been read. Close it, or read its body to the end."""

    def __init__(self, response: urllib3.BaseHTTPResponse, subject: str) -> None:
        self._response = response
        self._subject = subject
        self._download: Download | None = None
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers

    @property
    def length(self) -> int | None:
        """The content's length in bytes from the header, also for HEAD."""
        text = self.headers.get("Content-Length", "")
        return int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None

    def stream(self, size: int | None = None) -> Download:
        """Return the body; `size` is its expected length, for answers that do not state it."""
        if self._download is None:
            self._download = Download(self._response, size, self._subject)
        return self._download

    def read(self, limit: int) -> bytes:
        """Return the whole body; raises `EndpointError` if it is longer than `limit` bytes."""
        raw = self.read_some(limit + 1)
        if len(raw) > limit:
            raise EndpointError("answer too large", subject=self._subject, want=f"at most {limit:,} bytes")
        return raw

    def read_some(self, limit: int) -> bytes:
        """Return the first `limit` bytes of the body."""
        with self.stream() as stream:
            raw = bytearray()
            while len(raw) < limit and (chunk := stream.read(min(limit - len(raw), 1 << 16))):
                raw += chunk
        return bytes(raw)

    def close(self) -> None:
        """Idempotent. Keeps the connection if the body is short or at its end, otherwise cuts it."""
        stream = self.stream()
        if not stream.closed and self.length is not None and self.length <= _SHORT:
            with contextlib.suppress(TemporaryError):
                stream.readall()
        stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Transport:
    """A pool of connections, for several threads and hosts. Does not follow redirects, and tries once."""

    def __init__(self, base: str, options: RegistryOptions) -> None:
        """`base` is the URL of the registry itself; only the registry gets the client certificate."""
        self._options = options
        self._lock = threading.Lock()
        self._pools: dict[tuple[Proxy | None, bool, bool], urllib3.PoolManager] = {}
        self._own: Origin = origin(base)
        self._zone: Zone | None = None
        """The zone of the registry's own address, known after connecting."""
        self._tls = _context(options, certified=False)
        self._certified_tls = (
            _context(options, certified=True) if options.client_cert is not None else self._tls
        )

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: Body | None,
        subject: str,
        *,
        silence: float | None = None,
    ) -> Response:
        """Send a request. Raises `TemporaryError` if there is no answer, `EndpointError` if TLS fails, and
        what the stream of an upload raises, after the connection was cut. `silence` replaces the read timeout
        of the options if it is shorter.
        """
        try:
            return Response(self._urlopen(method, url, headers, body, silence), subject)
        except (HTTPError, OSError) as error:
            ours = _explain(error, subject, self._options.plain_hint)
            ours.got = None if ours.got is None else self._options.proxies.redact(str(ours.got))
            if isinstance(ours, TemporaryError) and self._options.proxies.ignored:
                ours.hint = f"{self._options.proxies.ignored} is not read: set HTTPS_PROXY instead"
            raise ours from error
        except UploadStopped as stopped:
            cause = stopped.error
        raise cause  # with its own cause

    def _urlopen(
        self, method: str, url: str, headers: Mapping[str, str], body: Body | None, silence: float | None
    ) -> urllib3.BaseHTTPResponse:
        upload = body if isinstance(body, Upload) else None
        always = {"User-Agent": f"airgap/{__version__}", "Accept-Encoding": "identity"}
        if upload is not None:
            always["Content-Length"] = str(upload.size)
        return self._pool(url).urlopen(
            method, url, body=body, headers={**always, **headers}, timeout=self._timeout(upload, silence),
            redirect=False, retries=False, preload_content=False, decode_content=False,
        )  # fmt: skip

    def _pool(self, url: str) -> urllib3.PoolManager:
        own = origin(url) == self._own
        key = (self._options.proxies.choose(url), own, own or is_trusted(url, self._options.trusted_hosts))
        with self._lock:
            if key not in self._pools:
                self._pools[key] = self._new_pool(*key)
            return self._pools[key]

    def _new_pool(self, proxy: Proxy | None, own: bool, trusted: bool) -> urllib3.PoolManager:
        tls = self._certified_tls if own else self._tls
        size = self._options.connections
        if proxy is None:
            manager = urllib3.PoolManager(_HOSTS, maxsize=size, ssl_context=tls, retries=False)
        else:
            manager = urllib3.ProxyManager(
                proxy.url, _HOSTS, maxsize=size, ssl_context=tls, proxy_ssl_context=self._tls, retries=False,
                proxy_headers=make_headers(proxy_basic_auth=proxy.login) if proxy.login else None,
            )  # fmt: skip
        check = None if proxy else self._remember_zone if own else None if trusted else self._check_address
        manager.pool_classes_by_scheme = bounded_pools(self._options.min_rate, check)
        return manager

    def _remember_zone(self, address: str, _url: str) -> None:
        self._zone = zone_of(address)

    def _check_address(self, address: str, url: str) -> None:
        if not may_connect(self._zone, address):
            raise inside(url, f"{urlsplit(url).hostname} ({address})")

    def _timeout(self, upload: Upload | None, silence: float | None) -> urllib3.Timeout:
        options = self._options
        if upload is None:
            read = min(options.read_timeout, silence or options.read_timeout)
            return urllib3.Timeout(connect=options.connect_timeout, read=read)
        # The connect timeout also bounds the sending of each chunk.
        wait = options.read_timeout + upload.size / _COMMIT_RATE
        return urllib3.Timeout(connect=options.read_timeout, read=wait)

    def close(self) -> None:
        """Close the connections that are not in use."""
        with self._lock:
            for pool in self._pools.values():
                pool.clear()


def _context(options: RegistryOptions, *, certified: bool) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    # As docker and curl decide, on every Python. From 3.13 on, Python requires conformance to RFC 5280, which
    # many private CAs lack; earlier versions did not accept an intermediate CA as a trust anchor.
    context.verify_flags = context.verify_flags & ~ssl.VERIFY_X509_STRICT | ssl.VERIFY_X509_PARTIAL_CHAIN
    context.hostname_checks_common_name = False  # as docker
    for ca_file in filter(None, (options.ca_file, *options.more_ca_files)):
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:
            raise UsageError(
                "cannot read CA certificates", subject=ca_file, want="a file of PEM certificates"
            ) from error
    if certified and options.client_cert is not None:
        try:
            # Without a password OpenSSL would ask on the terminal for that of an encrypted key.
            context.load_cert_chain(options.client_cert, options.client_key, password="")
        except (OSError, ValueError) as error:
            raise UsageError(
                "cannot use the client certificate",
                subject=options.client_cert,
                want="a PEM certificate and its key, not encrypted",
            ) from error
    return context


def _explain(error: Exception, subject: str, plain_hint: str | None) -> EndpointError:
    cause = _innermost(error)
    if isinstance(error, SSLError) and not isinstance(cause, ssl.SSLEOFError | ConnectionError):
        return _tls_failure(cause, subject, plain_hint)
    if isinstance(cause, EndlessAnswerError):
        return endless(cause, subject)
    if isinstance(error, ProxyError):
        return TemporaryError("the proxy refused the connection", subject=subject, got=str(cause))
    reached = not isinstance(error, ConnectTimeoutError | NewConnectionError)
    if isinstance(cause, TimeoutError) or isinstance(error, ReadTimeoutError):
        got = str(cause) if isinstance(cause, SlowAnswerError) else None
        failed = TemporaryError("no answer in time", subject=subject, got=got)
        failed.timed_out = True
    else:
        failed = TemporaryError("cannot reach the registry", subject=subject, got=describe_cause(cause))
    failed.reached = reached
    return failed


def _innermost(error: BaseException) -> BaseException:
    """Return the innermost error, without urllib3's wrappers: it has the reason and no URL."""
    inner = error.__cause__ or next((arg for arg in error.args if isinstance(arg, Exception)), None)
    return error if inner is None else _innermost(inner)


def _tls_failure(cause: BaseException, subject: str, plain_hint: str | None) -> EndpointError:
    got, hint = getattr(cause, "reason", None) or describe_cause(cause), None
    if isinstance(cause, ssl.SSLCertVerificationError):
        got = cause.verify_message
        hint = _CERTIFICATE_HINTS.get(cause.verify_code)
    elif got in _NOT_TLS:
        hint = plain_hint or "use --plain-http for a registry without TLS"
    elif got in _WANT_CERTIFICATE:
        hint = f"put a client certificate into {DOCKER_CERTS}/HOST, as client.cert and client.key"
    return TlsFailedError("TLS failed", subject=subject, got=got, hint=hint)
