"""Logins: Basic, and bearer tokens (distribution's "Token Authentication" and "OAuth2" documents)."""

import base64
import re
import threading
from collections.abc import Mapping
from urllib.parse import urlencode, urlsplit

from airgap.endpoints.logins import Credentials, CredentialStore, HelperError, NamespacedStore
from airgap.endpoints.registry.address import follow
from airgap.endpoints.registry.challenge import Challenge
from airgap.endpoints.registry.config import TRUSTED_HOSTS, RegistryOptions
from airgap.endpoints.registry.errors import MAX_ERROR_BODY, failure
from airgap.endpoints.registry.proxies import without
from airgap.endpoints.registry.reach import is_trusted, may_log_in
from airgap.endpoints.registry.transport import Response, Transport
from airgap.errors import AccessDeniedError, EndpointError, FormatError, LoginError
from airgap.oci.strict_json import parse_object

_MAX_ANSWER = 1 << 18
_USABLE_TOKEN = re.compile(r"[\x21-\x7e]+", re.ASCII)
_REPOSITORY = re.compile(r"repository:([^:\s]+):", re.ASCII)
_DEFAULT_LIFE = 60
_USABLE_LIFE = 0.8
"""The fraction of a token's life during which it is used: clocks differ, and requests take time."""


class Authorizer:
    """The Authorization headers for one registry, by scope; for several threads.

    Credentials are sent to the registry, or to the token service that it names if that has the same owner.
    """

    def __init__(self, host: str, base: str, options: RegistryOptions, transport: Transport) -> None:
        self._host = host
        self._base = base
        self._options = options
        self._transport = transport
        self._lock = threading.Lock()
        self._basic: dict[str, str] = {}
        self._tokens: dict[str, tuple[str, float]] = {}
        self._logins: dict[str, Credentials | None] = {}
        """By host, or by the namespace of it that has its own login."""
        self._helper_error: HelperError | None = None
        self._scopes: dict[str, threading.Lock] = {}
        self._bearer: Mapping[str, str] | None = None
        """The registry's last challenge: the next repository's token is fetched before it is refused."""

    def header(self, scope: str, subject: str) -> str | None:
        """Return the header that should be valid for `scope` now; None before the registry has asked for a
        login.
        """
        known = self._known(scope)
        if known is not None or self._bearer is None:
            return known
        with self._scope(scope):
            try:
                return self._known(scope) or self._new_token(self._bearer, scope, subject, None)
            except EndpointError:
                return None  # the registry's own refusal is clearer

    def _known(self, scope: str) -> str | None:
        if self._basic and (basic := self._basic.get(self._login_name(scope))) is not None:
            return basic
        header, until = self._tokens.get(scope, ("", 0.0))
        return header if header and self._options.clock() < until else None

    def forget(self, scope: str) -> None:
        """Drop the token of `scope`, which the registry refused."""
        with self._lock:
            self._tokens.pop(scope, None)

    def renew(self, asked: str, scope: str, refused: str | None, subject: str) -> str:
        """Return a header for `scope` that answers the challenge `asked` (the value of WWW-Authenticate).

        `refused` is the header that was sent, if any. Raises `LoginError` if there is no login or it is
        refused, `EndpointError` for a challenge that cannot be answered.
        """
        with self._scope(scope):
            current = self._known(scope)
            if current is not None and current != refused:
                return current  # another thread was faster
            found = {challenge.scheme: challenge for challenge in Challenge.parse_all(asked, subject)}
            if "bearer" in found:
                self._bearer = found["bearer"].parameters
                return self._new_token(self._bearer, scope, subject, refused)
            if "basic" in found:
                header = self._basic_header(scope, subject, again=refused is not None)
                self._basic[self._login_name(scope)] = header
                return header
        raise EndpointError(
            "the registry requires an unsupported kind of login",
            subject=subject,
            want="Basic or Bearer",
            got=", ".join(found),
        )

    def _scope(self, scope: str) -> threading.Lock:
        """Return the lock of a scope: threads that need one token request it once, and other scopes do not
        wait.
        """
        with self._lock:
            return self._scopes.setdefault(scope, threading.Lock())

    def _new_token(self, asked: Mapping[str, str], scope: str, subject: str, refused: str | None) -> str:
        header, life = self._fetch(asked, scope, subject, refused)
        self._tokens[scope] = (header, self._options.clock() + life * _USABLE_LIFE)
        return header

    def redact(self, text: str) -> str:
        """Return `text` without our secrets, in case a server repeats them."""
        secrets = [header.partition(" ")[2] for header, _ in list(self._tokens.values())]
        for login in filter(None, list(self._logins.values())):
            secrets += [login.password, login.identity_token, login.registry_token, _pair(login)]
        return self._options.proxies.redact(without(text, secrets))

    def cleared(self, error: EndpointError) -> EndpointError:
        """Return `error` without our secrets, even if the server has escaped them in its JSON."""
        error.got = None if error.got is None else self.redact(str(error.got))
        return error

    def explained(self, error: EndpointError) -> EndpointError:
        """Return `error` with the origin of the login, or the problem with its helper."""
        if not isinstance(error, AccessDeniedError):
            return error
        if self._helper_error is not None:
            error.hint = f"{self._helper_error}; {self._helper_error.hint}"
        elif origins := {login.origin for login in filter(None, list(self._logins.values())) if login.origin}:
            error.hint = f"{error.hint}; the login came from {', '.join(sorted(origins))}"
        return error

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
            return store.get(name)
        except HelperError as error:
            self._helper_error = error
            return None

    def _basic_header(self, scope: str, subject: str, *, again: bool) -> str:
        login = self._credentials(scope)
        if login is None or not login.user or again:
            raise self.explained(self._no_login(login if again else None, subject))
        return f"Basic {_pair(login)}"

    def _no_login(self, login: Credentials | None, subject: str) -> LoginError:
        what = "a user name and password are needed" if login is None else "the login is refused"
        return LoginError(what, subject=subject, hint=f"docker login {self._host}")

    def _fetch(
        self, asked: Mapping[str, str], scope: str, subject: str, refused: str | None
    ) -> tuple[str, float]:
        """Return a new Authorization header, and its life in seconds."""
        login = self._credentials(scope)
        if login is not None and login.registry_token:
            header = f"Bearer {login.registry_token}"
            if header == refused:
                raise self.explained(self._no_login(login, subject))
            return header, _DEFAULT_LIFE
        subject = f"{subject} (token service)"
        realm = follow(self._base, asked.get("realm"), self._options, subject)
        if login is not None and not (
            may_log_in(self._base, realm) or is_trusted(realm, self._options.trusted_hosts)
        ):
            raise self._foreign_host_error(realm, subject)
        with self._ask(realm, asked.get("service"), scope, subject) as response:
            if response.status != 200:
                body = self.redact(response.read_some(MAX_ERROR_BODY).decode("utf-8", "replace"))
                error = failure(response.status, response.headers, body.encode(), subject, self._host)
                raise self.explained(_refused(self.cleared(error)))
            return _parse_token(response.read(_MAX_ANSWER), subject)

    def _foreign_host_error(self, realm: str, subject: str) -> LoginError:
        host = urlsplit(realm).netloc
        return LoginError(
            "the registry asks to send its login to another host, which is refused",
            subject=subject,
            want=f"a token service at {self._host} or in its domain",
            got=host,
            hint=f"if both have the same owner, set {TRUSTED_HOSTS}={self._host}={host}",
        )

    def _ask(self, realm: str, service: str | None, scope: str, subject: str) -> Response:
        login = self._credentials(scope)
        fields = {} if service is None else {"service": service}
        if login is not None and login.identity_token:
            fields |= {
                "scope": scope,
                "grant_type": "refresh_token",
                "client_id": "airgap",
                "refresh_token": login.identity_token,
            }
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            return self._transport.send("POST", realm, headers, urlencode(fields).encode(), subject)
        headers = {} if login is None else {"Authorization": f"Basic {_pair(login)}"}
        query = urlencode([*(("scope", part) for part in scope.split()), *fields.items()])
        url = f"{realm}{'&' if '?' in realm else '?'}{query}"
        return self._transport.send("GET", url, headers, None, subject)


def _refused(error: EndpointError) -> EndpointError:
    """A token service that answers 401 rejects the login; with 403 it grants less than was requested."""
    if error.status != 401:
        return error
    return LoginError(error.what, subject=error.subject, got=error.got, hint=error.hint)


def _pair(login: Credentials) -> str:
    return base64.b64encode(f"{login.user}:{login.password}".encode()).decode()


def _parse_token(raw: bytes, subject: str) -> tuple[str, float]:
    try:
        answer = parse_object(raw, subject, max_bytes=_MAX_ANSWER)
    except FormatError as error:
        raise EndpointError(
            "the token service sent no token", subject=subject, want="a JSON object"
        ) from error
    token = answer.get("token") or answer.get("access_token")
    if not isinstance(token, str) or not _USABLE_TOKEN.fullmatch(token):
        raise EndpointError("the token service sent no token", subject=subject, want="token or access_token")
    life = answer.get("expires_in")
    return f"Bearer {token}", life if type(life) is int and life > 0 else _DEFAULT_LIFE
