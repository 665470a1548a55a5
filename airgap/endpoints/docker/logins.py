"""Registry logins as `docker login`, `podman login`, `skopeo login` and `crane auth login` leave them.

Docker's `config.json` ("docker login" in its manual) and `auth.json` of podman and skopeo
(containers-auth.json(5)) have the same form. The files are read in this order, and the first that has a login
for the repository is used:

    DOCKER_AUTH_CONFIG      the content itself, as the docker CLI from 28.3 on takes it
    REGISTRY_AUTH_FILE
    DOCKER_CONFIG/config.json, or ~/.docker/config.json
    $XDG_RUNTIME_DIR/containers/auth.json, or /run/containers/UID/auth.json
    $XDG_CONFIG_HOME/containers/auth.json, or ~/.config/containers/auth.json
    ~/.dockercfg            an old form, without `auths` around the entries
"""

import base64
import os
import threading
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from airgap.endpoints.docker.config import config_folder, field, parse_json, read_json, user_home
from airgap.endpoints.docker.helper import ask_helper
from airgap.endpoints.logins import Credentials, HelperError, NamespacedStore
from airgap.errors import AccessDeniedError, EndpointError
from airgap.limits import CREDENTIAL_HELPER_SECONDS
from airgap.values import dataclass

_FAILED = "cannot read the registry logins of Docker"
_HUB = "docker.io"
_HUB_NAMES = frozenset({_HUB, "index.docker.io", "registry-1.docker.io"})
_HUB_ADDRESS = "https://index.docker.io/v1/"
"""The name of Docker Hub in Docker's own file and for helpers."""


class DockerLogins(NamespacedStore):
    """Reads the files once, at the first request; with `config`, only that file.

    A missing file has no logins. An entry or a helper is read only for its own registry. A file that is not
    JSON is an error for every registry, as it may have had the login; a file of another user is an error, as
    for docker, only if no other file has the login.
    """

    def __init__(
        self,
        config: Path | None = None,
        environ: Mapping[str, str] = os.environ,
        helper_seconds: float = CREDENTIAL_HELPER_SECONDS,
    ) -> None:
        self._config = config
        self._environ = environ
        self._seconds = helper_seconds
        self._lock = threading.Lock()
        self._found: dict[str, Credentials | None] = {}
        self._closed: list[HelperError] = []

    def get(self, host: str) -> Credentials | None:
        """Return the login for `host`, or for a namespace in it, from the first file that has one. In a file,
        `credHelpers` comes before `credsStore`, and both before `auths`.

        Raises `EndpointError` for a file or an entry that cannot be read, and `HelperError`.
        """
        with self._lock:
            if host not in self._found:
                self._found[host] = self._look_up(host)
            return self._found[host]

    def narrowest_name(self, host: str, repository: str) -> str:
        """See `NamespacedStore`: of several narrower names, the longest in any file."""
        names = [f"{host}/{repository}"]
        while (shorter := names[-1].rpartition("/")[0]) != host and shorter:
            names.append(shorter)
        return next((name for name in names if any(name in file.entries for file in self._files)), host)

    def _look_up(self, login_name: str) -> Credentials | None:
        for file in self._files:
            if (login := file.login(login_name, self._seconds, self._environ.get("PATH"))) is not None:
                return login
        if self._closed:
            raise self._closed[0]
        return None

    @cached_property
    def _files(self) -> "list[_LoginFile]":
        return list(filter(None, self._read()))

    def _read(self) -> "Iterator[_LoginFile | None]":
        if self._config is not None:
            yield self._file(self._config)
            return
        if content := self._environ.get("DOCKER_AUTH_CONFIG"):
            name = "DOCKER_AUTH_CONFIG"
            yield _LoginFile.of(parse_json(content.encode("utf-8", "surrogateescape"), _FAILED, name), name)
        for path in dict.fromkeys(_paths(self._environ)):
            yield self._file(path)
        if (home := user_home(self._environ)) is not None:
            yield self._file(home / ".dockercfg", bare=True)

    def _file(self, path: Path, *, bare: bool = False) -> "_LoginFile | None":
        try:
            config = read_json(path, _FAILED)
        except AccessDeniedError as error:
            self._closed.append(HelperError(error.what, subject=path, got=error.got, hint=error.hint))
            return None
        return _LoginFile.of({"auths": config} if bare and config is not None else config, str(path))


def _paths(environ: Mapping[str, str]) -> Iterator[Path]:
    if path := environ.get("REGISTRY_AUTH_FILE"):
        yield Path(path)
    if (folder := config_folder(environ)) is not None:
        yield folder / "config.json"
    runtime = environ.get("XDG_RUNTIME_DIR")
    yield (Path(runtime, "containers") if runtime else Path(f"/run/containers/{os.getuid()}")) / "auth.json"
    if settings := environ.get("XDG_CONFIG_HOME"):
        yield Path(settings, "containers", "auth.json")
    elif (home := user_home(environ)) is not None:
        yield home / ".config" / "containers" / "auth.json"


@dataclass(frozen=True, slots=True)
class _LoginFile:
    """The logins in one file, by name: a host, or a host and the beginning of a repository."""

    name: str
    entries: Mapping[str, Any]
    helpers: Mapping[str, Any]
    store: str

    @classmethod
    def of(cls, config: Mapping[str, Any] | None, name: str) -> "_LoginFile | None":
        """Read the JSON of a file. Raises `EndpointError` for any other form."""
        if config is None:
            return None
        entries, helpers = (_mapping(config, key, name) for key in ("auths", "credHelpers"))
        store = field(config, "credsStore") or ""
        if not isinstance(store, str):
            raise EndpointError(_FAILED, subject=name, want="the name of a program as credsStore")
        return cls(name, _normalized(entries), _normalized(helpers), store)

    def login(self, login_name: str, seconds: float, path: str | None) -> Credentials | None:
        """Return the login for a host, or for a namespace in it that `entries` lists."""
        host = login_name.partition("/")[0]
        helper = self.helpers.get(host, self.store)
        if not isinstance(helper, str):
            raise EndpointError(_FAILED, subject=f"{host}, in {self.name}", want="a name in credHelpers")
        if login_name == host and helper:
            address = _HUB_ADDRESS if host == _HUB else host
            if (login := ask_helper(helper, address, host, seconds, path)) is not None:
                return login
        return _credentials(self.entries.get(login_name), login_name, self.name)


def _mapping(config: Mapping[str, Any], key: str, name: str) -> Mapping[str, Any]:
    value = field(config, key)
    if value is not None and not isinstance(value, dict):
        raise EndpointError(_FAILED, subject=name, want=f"an object as {key}")
    return value or {}


def _normalized(entries: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries by host and path; the current spelling of `docker login` comes before older ones."""
    normalized = {_normal_name(key): value for key, value in entries.items() if _normal_name(key) != key}
    normalized |= {key: value for key, value in entries.items() if _normal_name(key) == key}
    hub = entries.get(_HUB_ADDRESS)
    return normalized if hub is None else {**normalized, _HUB: hub}


def _normal_name(key: str) -> str:
    """Return the host and path that a key means: `https://Host:5000/v2/` means `host:5000`.

    Without a scheme, the path is the beginning of a repository, as in auth.json. With a scheme, the key is an
    address, of which only the host counts.
    """
    _, scheme, rest = key.rpartition("://")
    host, _, path = rest.partition("/")
    host = host.lower()
    host = _HUB if host in _HUB_NAMES else host
    path = path.strip("/")
    return host if scheme or path in ("", "v1", "v2") else f"{host}/{path}"


def _credentials(entry: Any, login_name: str, origin: str) -> Credentials | None:
    """Return the login in an entry of `auths`; None if the entry is empty, as `docker login` leaves it for a
    login that a helper keeps.
    """
    if entry is None:
        return None
    fields = ("auth", "username", "password", "identitytoken", "registrytoken")
    values = {key: field(entry, key) or "" for key in fields} if isinstance(entry, dict) else None
    if values is None or not all(isinstance(value, str) for value in values.values()):
        raise _broken(login_name, origin)
    user, password = values["username"], values["password"]
    if values["auth"]:
        user, password = _decoded(values["auth"], login_name, origin)
    if token := values["registrytoken"]:
        return Credentials("", registry_token=token, origin=origin)
    if token := values["identitytoken"]:
        return Credentials("", identity_token=token, origin=origin)
    return Credentials(user, password, origin=origin) if user else None


def _decoded(auth: str, login_name: str, origin: str) -> tuple[str, str]:
    try:
        text = base64.b64decode("".join(auth.split()), validate=True).decode("utf-8")
    except ValueError:
        raise _broken(login_name, origin) from None
    user, colon, password = text.partition(":")
    if not colon or not user:
        raise _broken(login_name, origin)
    return user, password.strip("\x00")


def _broken(login_name: str, origin: str) -> EndpointError:
    host = login_name.partition("/")[0]
    return EndpointError(
        _FAILED,
        subject=f"{login_name}, in {origin}",
        want="`auth` with a user name and a password in base64",
        hint=f"docker logout {host}, then docker login {host}",
    )
