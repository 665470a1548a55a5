"""One HTTP exchange: connections, TLS, and errors on the wire."""

import logging
import math
import ssl
import threading
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
from airgap.endpoints.registry.address import internal_address_error
from airgap.endpoints.registry.config import DOCKER_CERTS, RegistryOptions
from airgap.endpoints.registry.errors import TemporaryError, TlsFailedError
from airgap.endpoints.registry.masking import SecretMask
from airgap.endpoints.registry.proxies import Proxy
from airgap.endpoints.registry.reach import Zone, is_trusted, may_connect, origin, zone_of
from airgap.endpoints.registry.request import RegistryRequest, UploadBody, UploadStopped
from airgap.endpoints.registry.response import RegistryResponse, endless_answer
from airgap.endpoints.wire import EndlessAnswerError, SlowAnswerError, bounded_pools
from airgap.errors import EndpointError, UsageError, describe_cause, iterate_causes

log = logging.getLogger(__name__)

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
_COMMIT_RATE = 10_000_000
"""Bytes a second at which a slow registry checks and stores an upload before it answers."""


class ConnectionPool:
    """Connections to one registry and the hosts that it names; for several threads. Each call is one HTTP
    exchange: it does not follow redirects, and tries once.

    Raises `TemporaryError` if there is no answer, `EndpointError` if TLS fails, and what the stream of an
    upload raises, after the connection was cut.
    """

    def __init__(self, base: str, options: RegistryOptions, mask: SecretMask) -> None:
        """Connect for the registry at the URL `base`, and show the client certificate to no other host."""
        self._options = options
        self._mask = mask
        self._lock = threading.Lock()
        self._pools: dict[tuple[Proxy | None, bool, bool], urllib3.PoolManager] = {}
        self._own = origin(base)
        self._zone: Zone | None = None
        """The zone of the registry's own address, known after connecting."""
        self._tls = _context(options, certified=False)
        self._certified_tls = (
            _context(options, certified=True) if options.client_cert is not None else self._tls
        )

    def __call__(self, request: RegistryRequest) -> RegistryResponse:
        start = self._options.clock()
        try:
            raw = self._pool(request.url).urlopen(
                request.method, request.url, body=request.body, headers=_headers(request),
                timeout=self._timeout(request), redirect=False, retries=False, preload_content=False,
                decode_content=False,
            )  # fmt: skip
        except (HTTPError, OSError) as error:
            failed = self._explain(error, request.subject)
            self._log(request, start, failed.what)
            raise failed from error
        except UploadStopped as stopped:
            cause = stopped.error
        else:
            response = RegistryResponse(raw, request)
            self._log(request, start, f"HTTP {response.status}, {response.length} bytes")
            return response
        raise cause  # with its own cause

    def close(self) -> None:
        """Close the connections that are not in use."""
        with self._lock:
            for pool in self._pools.values():
                pool.clear()

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
            raise internal_address_error(url, f"{urlsplit(url).hostname} ({address})")

    def _timeout(self, request: RegistryRequest) -> urllib3.Timeout:
        options = self._options
        if isinstance(request.body, UploadBody):
            # The connect timeout also bounds the sending of each chunk.
            wait = options.read_timeout + request.body.size / _COMMIT_RATE
            return urllib3.Timeout(connect=options.read_timeout, read=wait)
        silence = min(options.read_timeout, options.optional_silence if request.optional else math.inf)
        return urllib3.Timeout(connect=options.connect_timeout, read=silence)

    def _explain(self, error: Exception, subject: str) -> EndpointError:
        failed = self._mask.mask_error(_explain(error, subject, self._options.plain_hint))
        if isinstance(failed, TemporaryError) and self._options.proxies.ignored:
            failed.hint = f"{self._options.proxies.ignored} is not read: set HTTPS_PROXY instead"
        return failed

    def _log(self, request: RegistryRequest, start: float, outcome: str) -> None:
        if log.isEnabledFor(logging.DEBUG):
            url, duration = self._mask.mask_url(request.url), (self._options.clock() - start) * 1000
            log.debug("%s %s: %s, %.0f ms", request.method, url, outcome, duration)


def _headers(request: RegistryRequest) -> dict[str, str]:
    headers = {"User-Agent": f"airgap/{__version__}", "Accept-Encoding": "identity", **request.headers}
    if isinstance(request.body, UploadBody):
        headers["Content-Length"] = str(request.body.size)
    return headers


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
    *_, cause = iterate_causes(error)  # the innermost has the reason and no URL
    if isinstance(error, SSLError) and not isinstance(cause, ssl.SSLEOFError | ConnectionError):
        return _tls_error(cause, subject, plain_hint)
    if isinstance(cause, EndlessAnswerError):
        return endless_answer(cause, subject)
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


def _tls_error(cause: BaseException, subject: str, plain_hint: str | None) -> EndpointError:
    got, hint = getattr(cause, "reason", None) or describe_cause(cause), None
    if isinstance(cause, ssl.SSLCertVerificationError):
        got = cause.verify_message
        hint = _CERTIFICATE_HINTS.get(cause.verify_code)
    elif got in _NOT_TLS:
        hint = plain_hint or "use --plain-http for a registry without TLS"
    elif got in _WANT_CERTIFICATE:
        hint = f"put a client certificate into {DOCKER_CERTS}/HOST, as client.cert and client.key"
    return TlsFailedError("TLS failed", subject=subject, got=got, hint=hint)
