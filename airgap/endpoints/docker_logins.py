"""Registry logins as `docker login` leaves them: Docker's config file and its credential helpers."""

import shutil
from pathlib import Path
from typing import Any

from airgap.endpoints.logins import Credentials
from airgap.errors import EndpointError


class DockerLogins:
    """Reads `config` (default: where Docker itself looks, `DOCKER_CONFIG` first) at each call.

    A config that is not there means no logins.
    """

    def __init__(self, config: Path | None = None) -> None:
        self._config = config

    def get(self, host: str) -> Credentials | None:
        """The login for `host`: `credHelpers`, then `credsStore`, then `auths`.

        Raises `EndpointError` for a broken config and for a helper that is missing or fails.
        What a helper prints is not repeated: it may be a secret.
        """
        from docker import auth  # noqa: PLC0415 - takes 0.2 s, needed only where a login is asked for
        from docker.errors import DockerException  # noqa: PLC0415

        path = None if self._config is None else str(self._config)
        try:
            config = auth.AuthConfig.load_config(path, None)
            _check_helper(config.get_credential_store(host), host)
            return _credentials(config.resolve_authconfig(host))
        except (DockerException, ValueError, KeyError, TypeError, AttributeError, OSError) as error:
            raise EndpointError(
                "cannot read the registry logins of Docker",
                subject=host,
                got=type(error).__name__,
                hint=f"docker logout {host}, then docker login {host}",
            ) from error


def _check_helper(name: str | None, host: str) -> None:
    program = f"docker-credential-{name}"
    if name is not None and shutil.which(program) is None:
        raise EndpointError(
            "the credential helper is not installed",
            subject=host,
            want=f"{program} on PATH",
            hint="install it, or take it out of credsStore or credHelpers in Docker's config.json",
        )


def _credentials(entry: dict[str, Any] | None) -> Credentials | None:
    """`docker.auth` spells the keys as they came: capitals from a helper, lower case from the file."""
    found = {key.lower(): value for key, value in (entry or {}).items()}
    if token := found.get("identitytoken"):
        return Credentials("", identity_token=token)
    if user := found.get("username"):
        return Credentials(user, found.get("password") or "")
    return None
