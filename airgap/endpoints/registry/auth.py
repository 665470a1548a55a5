"""Logins: Basic, and bearer tokens (distribution's "Token Authentication" and "OAuth2" documents), as the
WWW-Authenticate header asks for them (RFC 9110 §11).
"""

import base64
import logging
import math
import re
import threading
from collections.abc import Mapping
from dataclasses import field, replace
from typing import Self
from urllib.parse import urlencode, urlsplit

from airgap.endpoints.logins import Credentials, CredentialStore, HelperError, NamespacedStore
from airgap.endpoints.registry.address import follow
from airgap.endpoints.registry.config import TRUSTED_HOSTS, RegistryOptions
from airgap.endpoints.registry.errors import TemporaryError
from airgap.endpoints.registry.masking import SecretMask
from airgap.endpoints.registry.reach import is_trusted, may_log_in, origin
from airgap.endpoints.registry.request import RegistryRequest
from airgap.endpoints.registry.response import RegistryResponse, Send
from airgap.errors import AccessDeniedError, EndpointError, FormatError, LoginError, printable
from airgap.limits import MAX_CHALLENGE_BYTES, MAX_TOKEN_ANSWER_BYTES
from airgap.oci.strict_json import parse_object
from airgap.values import dataclass

log = logging.getLogger(__name__)

_USABLE_TOKEN = re.compile(r"[\x21-\x7e]+", re.ASCII)
_REPOSITORY = re.compile(r"repository:([^:\s]+):", re.ASCII)
_DEFAULT_LIFE_SECONDS = 60.0
_USABLE_LIFE = 0.8
"""The fraction of a token's life during which it is used: clocks differ, and requests take time."""


class Login:
    """Sends requests to one registry with the login that it asks for; for several threads.

    Credentials are sent to the registry, or to the token service that it names if that has the same owner.
    """

    def __init__(
        self, send: Send, ask: Send, *, host: str, base: str, options: RegistryOptions, mask: SecretMask
    ) -> None:
        """Send requests to the registry at the URL `base` with `send`, to its token service with `ask`."""
        self._send = send
        self._ask = ask
        self._host = host
        self._base = base
        self._options = options
        self._mask = mask
        self._lock = threading.Lock()
        self._headers: dict[str, tuple[str, float]] = {}
        """Authorization headers and the times until which they are used: Bearer by scope, Basic by login."""
        self._logins: dict[str, Credentials | None] = {}
        """By host, or by the namespace of it that has its own login."""
        self._helper_error: HelperError | None = None
        self._scopes: dict[str, threading.Lock] = {}
        self._challenge: Challenge | None = None
        """The registry's last challenge: if it is Bearer, the token for the next repository is fetched before
        the registry asks for it.
        """

    def __call__(self, request: RegistryRequest) -> RegistryResponse:
        header = self._header(request)
        response = self._send(_authorized(request, header))
        challenge = response.headers.get("WWW-Authenticate")
        if response.status != 401 or challenge is None or origin(response.url) != origin(self._base):
            return response
        with response:
            if not request.repeatable:
                with self._lock:
                    self._headers.pop(request.scope, None)
                raise TemporaryError("the login expired during the upload", subject=request.subject)
            header = self._renew(challenge, request, refused=header)
        return self._send(_authorized(request, header))

    def explain(self, error: EndpointError) -> EndpointError:
        """Return `error` with the origin of the login, or the problem with its helper."""
        if not isinstance(error, AccessDeniedError):
            return error
        if self._helper_error is not None:
            error.hint = f"{self._helper_error}; {self._helper_error.hint}"
        elif origins := {login.origin for login in filter(None, list(self._logins.values())) if login.origin}:
            error.hint = f"{error.hint}; the login came from {', '.join(sorted(origins))}"
        return error

    def _header(self, request: RegistryRequest) -> str | None:
        """Return the header that should be valid now; None before the registry has asked for a login."""
        known = self._known(request.scope)
        if known is not None or self._challenge is None or self._challenge.scheme == "basic":
            return known
        with self._lock_of(request.scope):
            try:
                return self._known(request.scope) or self._answer(self._challenge, request, None)
            except EndpointError:
                return None  # the registry's own refusal is clearer

    def _known(self, scope: str) -> str | None:
        if self._challenge is None:
            return None
        entry = self._headers.get(scope) or self._headers.get(self._login_name(scope))
        return entry[0] if entry and self._options.clock() < entry[1] else None

    def _renew(self, challenges: str, request: RegistryRequest, refused: str | None) -> str:
        """Return a header that answers `challenges` (the value of WWW-Authenticate).

        `refused` is the header that was sent, if any. Raises `LoginError` if there is no login or it is
        refused, `EndpointError` for a challenge that cannot be answered.
        """
        with self._lock_of(request.scope):
            known = self._known(request.scope)
            if known is not None and known != refused:
                return known  # another thread was faster
            offered = {item.scheme: item for item in Challenge.parse_all(challenges, request.subject)}
            challenge = offered.get("bearer") or offered.get("basic")
            if challenge is not None:
                self._challenge = challenge
                return self._answer(challenge, request, refused)
        raise EndpointError(
            "the registry requires an unsupported kind of login",
            subject=request.subject,
            want="Basic or Bearer",
            got=", ".join(offered),
        )

    def _lock_of(self, scope: str) -> threading.Lock:
        """Return the lock of a scope: threads that need one token request it once, and other scopes do not
        wait.
        """
        with self._lock:
            return self._scopes.setdefault(scope, threading.Lock())

    def _answer(self, challenge: "Challenge", request: RegistryRequest, refused: str | None) -> str:
        login, key = self._credentials(request.scope), request.scope
        if challenge.scheme == "basic":
            if login is None or not login.user or refused is not None:
                raise self._no_login_error(None if refused is None else login, request.subject)
            header, life, key = f"Basic {_pair(login)}", math.inf, self._login_name(request.scope)
        elif login is not None and login.registry_token:
            header, life = f"Bearer {login.registry_token}", _DEFAULT_LIFE_SECONDS
            if header == refused:
                raise self._no_login_error(login, request.subject)
        else:
            header, life = self._fetch_token(challenge.parameters, login, request)
            self._mask.add(f"token for {request.scope}", header.partition(" ")[2])
        self._headers[key] = (header, self._options.clock() + life * _USABLE_LIFE)
        return header

    def _fetch_token(
        self, challenge: Mapping[str, str], login: Credentials | None, request: RegistryRequest
    ) -> tuple[str, float]:
        """Return a new Authorization header, and its life in seconds."""
        subject = f"{request.subject} (token service)"
        realm = follow(self._base, challenge.get("realm"), self._options, subject)
        if login is not None and not (
            may_log_in(self._base, realm) or is_trusted(realm, self._options.trusted_hosts)
        ):
            raise self._foreign_host_error(realm, subject)
        asking = _token_request(login, realm, challenge.get("service"), request.scope, subject)
        with self._ask(asking) as response:
            if response.status != 200:
                raise self._token_error(response)
            return _parse_token(response.read(MAX_TOKEN_ANSWER_BYTES), subject)

    def _login_name(self, scope: str) -> str:
        repository = _REPOSITORY.match(scope)
        store: object = self._options.credentials
        if repository is not None and isinstance(store, NamespacedStore):
            return store.narrowest_name(self._host, repository[1])
        return self._host

    def _credentials(self, scope: str) -> Credentials | None:
        store = self._options.credentials
        if store is None:
            return None
        name = self._login_name(scope)
        with self._lock:
            if name not in self._logins:
                self._logins[name] = self._look_up(store, name)
            return self._logins[name]

    def _look_up(self, store: CredentialStore, name: str) -> Credentials | None:
        try:
            login = store.get(name)
        except HelperError as error:
            self._helper_error = error
            log.info("%s: no login: %s", name, error)
            return None
        if login is None:
            log.info("%s: no login is kept", name)
            return None
        secrets = (login.password, login.identity_token, login.registry_token, _pair(login))
        self._mask.add(f"login for {name}", *secrets)
        log.info("%s: logs in as %s", name, printable(login.user or "the owner of a token"))
        return login

    def _no_login_error(self, login: Credentials | None, subject: str) -> EndpointError:
        what = "a user name and password are needed" if login is None else "the login is refused"
        return self.explain(LoginError(what, subject=subject, hint=f"docker login {self._host}"))

    def _foreign_host_error(self, realm: str, subject: str) -> LoginError:
        host = urlsplit(realm).netloc
        return LoginError(
            "the registry asks to send its login to another host, which is refused",
            subject=subject,
            want=f"a token service at {self._host} or in its domain",
            got=host,
            hint=f"if both have the same owner, set {TRUSTED_HOSTS}={self._host}={host}",
        )

    def _token_error(self, response: RegistryResponse) -> EndpointError:
        """Return the error of a token service: 401 rejects the login, and 403 grants less than requested."""
        error = response.status_error(self._host, self._mask)
        if error.status == 401:
            error = LoginError(error.what, subject=error.subject, got=error.got, hint=error.hint)
        return self.explain(error)


def _authorized(request: RegistryRequest, header: str | None) -> RegistryRequest:
    return (
        request if header is None else replace(request, headers={**request.headers, "Authorization": header})
    )


def _pair(login: Credentials) -> str:
    return base64.b64encode(f"{login.user}:{login.password}".encode()).decode()


def _token_request(
    login: Credentials | None, realm: str, service: str | None, scope: str, subject: str
) -> RegistryRequest:
    fields = {} if service is None else {"service": service}
    if login is not None and login.identity_token:
        fields |= {
            "scope": scope,
            "grant_type": "refresh_token",
            "client_id": "airgap",
            "refresh_token": login.identity_token,
        }
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode(fields).encode()
        return RegistryRequest(method="POST", url=realm, subject=subject, headers=headers, body=body)
    query = urlencode([*(("scope", part) for part in scope.split()), *fields.items()])
    url = f"{realm}{'&' if '?' in realm else '?'}{query}"
    request = RegistryRequest(method="GET", url=url, subject=subject)
    return request if login is None else _authorized(request, f"Basic {_pair(login)}")


def _parse_token(raw: bytes, subject: str) -> tuple[str, float]:
    """Return the Authorization header for a token service's answer, and its life in seconds."""
    try:
        answer = parse_object(raw, subject, max_bytes=MAX_TOKEN_ANSWER_BYTES)
    except FormatError as error:
        raise EndpointError(
            "the token service sent no token", subject=subject, want="a JSON object"
        ) from error
    token = answer.get("token") or answer.get("access_token")
    if not isinstance(token, str) or not _USABLE_TOKEN.fullmatch(token):
        raise EndpointError("the token service sent no token", subject=subject, want="token or access_token")
    life = answer.get("expires_in")
    return f"Bearer {token}", life if type(life) is int and life > 0 else _DEFAULT_LIFE_SECONDS


_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"  # noqa: S105 - RFC 9110's name for a word
_SEPARATORS = re.compile(r"[ \t]*(?:,[ \t]*)*")
_PARAMETER = re.compile(rf'({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN}))(?=[ \t]*(?:,|$))')
_SCHEME = re.compile(rf"({_TOKEN})(?=[ \t]*,|[ \t]*$|[ ])")
_TOKEN68 = re.compile(r" +[A-Za-z0-9._~+/-]+=*(?=[ \t]*(?:,|$))")
_ESCAPE = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Challenge:
    """One way to log in: the scheme and its parameters, names in lower case."""

    scheme: str
    parameters: dict[str, str] = field(default_factory=dict, hash=False)

    @classmethod
    def parse_all(cls, text: str, subject: str) -> list[Self]:
        """Return all challenges in the header's value; several headers must be joined by commas first.

        Raises `EndpointError` unless the whole text follows the grammar.
        """
        challenges: list[Self] = []
        position = _skip(text, 0)
        while position < len(text) <= MAX_CHALLENGE_BYTES:
            if challenges and (match := _PARAMETER.match(text, position)):
                _add(challenges[-1].parameters, match, subject)
            elif match := _SCHEME.match(text, position):
                challenges.append(cls(match[1].lower()))
                match = _TOKEN68.match(text, match.end()) or match
            else:
                break
            position = _skip(text, match.end())
        if not challenges or position < len(text):
            raise _malformed_error(subject)
        return challenges


def _add(parameters: dict[str, str], match: re.Match[str], subject: str) -> None:
    name = match[1].lower()
    if name in parameters:
        raise _malformed_error(subject)
    parameters[name] = match[3] or _ESCAPE.sub(r"\1", match[2] or "")


def _skip(text: str, position: int) -> int:
    match = _SEPARATORS.match(text, position)
    return match.end() if match else position


def _malformed_error(subject: str) -> EndpointError:
    return EndpointError("malformed WWW-Authenticate header", subject=subject)
