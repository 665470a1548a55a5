"""Logins: Basic, and bearer tokens (distribution's "Token Authentication" and "OAuth2" documents)."""

import base64
import re
import threading
from collections.abc import Mapping
from urllib.parse import urlencode

from airgap.endpoints.logins import Credentials
from airgap.endpoints.registry.address import follow
from airgap.endpoints.registry.challenge import Challenge
from airgap.endpoints.registry.config import RegistryOptions
from airgap.endpoints.registry.failure import MAX_ERROR_BODY, failure
from airgap.endpoints.registry.transport import Response, Transport
from airgap.errors import EndpointError, FormatError, LoginError
from airgap.oci.strict_json import parse_object

_MAX_ANSWER = 1 << 18
_USABLE_TOKEN = re.compile(r"[\x21-\x7e]+", re.ASCII)
_DEFAULT_LIFE = 60
_WORN = 0.8
"""The part of a token's life in which it is used: clocks differ, and requests take time."""


class Authorizer:
    """The Authorization headers for one registry, by scope; for several threads.

    Credentials go to the registry, or to the token service that it names, and nowhere else.
    """

    def __init__(self, host: str, base: str, options: RegistryOptions, transport: Transport) -> None:
        self._host = host
        self._base = base
        self._options = options
        self._transport = transport
        self._lock = threading.Lock()
        self._basic: str | None = None
        self._tokens: dict[str, tuple[str, float]] = {}
        self._asked = False
        self._login: Credentials | None = None

    def header(self, scope: str) -> str | None:
        """What is known to be good for `scope` now; None before the registry has asked."""
        if self._basic is not None:
            return self._basic
        header, until = self._tokens.get(scope, ("", 0.0))
        return header if header and self._options.clock() < until else None

    def forget(self, scope: str) -> None:
        """The registry refused the token of `scope`."""
        with self._lock:
            self._tokens.pop(scope, None)

    def renew(self, asked: str, scope: str, refused: str | None, subject: str) -> str:
        """A header for `scope` that answers the challenge `asked` (the value of WWW-Authenticate).

        `refused` is the header that was sent, if any. Raises `LoginError` when there is
        no login or it is refused, `EndpointError` for a challenge that cannot be answered.
        """
        with self._lock:
            current = self.header(scope)
            if current is not None and current != refused:
                return current  # another thread was faster
            found = {challenge.scheme: challenge for challenge in Challenge.parse_all(asked, subject)}
            if "bearer" in found:
                header, life = self._fetch(found["bearer"].parameters, scope, subject)
                self._tokens[scope] = (header, self._options.clock() + life * _WORN)
                return header
            if "basic" in found:
                self._basic = self._basic_header(subject, again=refused is not None)
                return self._basic
        raise EndpointError(
            "wants a login of an unknown kind", subject=subject, want="Basic or Bearer", got=", ".join(found)
        )

    def redact(self, text: str) -> str:
        """`text` without our secrets, should a server repeat them."""
        secrets = [header.partition(" ")[2] for header, _ in self._tokens.values()]
        if self._login is not None:
            secrets += [self._login.password, self._login.identity_token, _pair(self._login)]
        for secret in filter(None, secrets):
            text = text.replace(secret, "***")
        return text

    def _credentials(self) -> Credentials | None:
        if not self._asked and self._options.credentials is not None:
            self._login = self._options.credentials.get(self._host)
        self._asked = True
        return self._login

    def _basic_header(self, subject: str, *, again: bool) -> str:
        login = self._credentials()
        if login is None or not login.user or again:
            raise LoginError(
                "the login is refused" if again else "a user name and password are needed",
                subject=subject,
                hint=f"docker login {self._host}",
            )
        return f"Basic {_pair(login)}"

    def _fetch(self, asked: Mapping[str, str], scope: str, subject: str) -> tuple[str, float]:
        """A new Authorization header, and its life in seconds."""
        subject = f"{subject} (token service)"
        realm = follow(self._base, asked.get("realm"), self._options, subject)
        with self._ask(realm, asked.get("service"), scope, subject) as response:
            if response.status != 200:
                body = self.redact(response.read_some(MAX_ERROR_BODY).decode("utf-8", "replace"))
                raise _refused(failure(response.status, response.headers, body.encode(), subject, self._host))
            return _parse_token(response.read(_MAX_ANSWER), subject)

    def _ask(self, realm: str, service: str | None, scope: str, subject: str) -> Response:
        login = self._credentials()
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
    """A token service that answers 401 does not take the login; with 403 it grants less than was asked."""
    if error.status != 401:
        return error
    return LoginError(error.what, subject=error.subject, got=error.got, hint=error.hint)


def _pair(login: Credentials) -> str:
    return base64.b64encode(f"{login.user}:{login.password}".encode()).decode()


def _parse_token(raw: bytes, subject: str) -> tuple[str, float]:
    try:
        answer = parse_object(raw, subject, max_bytes=_MAX_ANSWER)
    except FormatError as error:
        raise EndpointError("gave no token", subject=subject, want="a JSON object") from error
    token = answer.get("token") or answer.get("access_token")
    if not isinstance(token, str) or not _USABLE_TOKEN.fullmatch(token):
        raise EndpointError("gave no token", subject=subject, want="token or access_token")
    life = answer.get("expires_in")
    return f"Bearer {token}", life if type(life) is int and life > 0 else _DEFAULT_LIFE
