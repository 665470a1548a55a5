"""Docker's client configuration: its folder, and `config.json` as the docker CLI reads it."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airgap.errors import AccessDeniedError, EndpointError, describe_cause
from airgap.limits import MAX_DOCKER_CONFIG_BYTES


def config_folder(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return `DOCKER_CONFIG`, otherwise `~/.docker`; None for a user without a home folder."""
    if folder := environ.get("DOCKER_CONFIG"):
        return Path(folder)
    home = user_home(environ)
    return None if home is None else home / ".docker"


def user_home(environ: Mapping[str, str] = os.environ) -> Path | None:
    """Return `HOME`, otherwise the system's home folder of this user; None if there is none."""
    if home := environ.get("HOME"):
        return Path(home)
    try:
        return Path.home()
    except RuntimeError:
        return None


def read_json(path: Path, what: str) -> dict[str, Any] | None:
    """Return the JSON object in a file, or None if the file is missing or empty.

    Raises `EndpointError`, which begins with `what` and names the file: its content may be secret and is
    never repeated; for another user's file it raises `AccessDeniedError`. Keys are as they were written; see
    `field`.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_DOCKER_CONFIG_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except PermissionError as error:
        hint = f"the file belongs to another user, as after `sudo docker login`: sudo chown $USER {path}"
        raise AccessDeniedError(what, subject=path, got=describe_cause(error), hint=hint) from error
    except OSError as error:
        raise EndpointError(what, subject=path, got=describe_cause(error)) from error
    if len(raw) > MAX_DOCKER_CONFIG_BYTES:
        raise EndpointError(
            what, subject=path, want=f"at most {MAX_DOCKER_CONFIG_BYTES:,} bytes", got="a larger file"
        )
    return parse_json(raw, what, path)


def parse_json(raw: bytes, what: str, subject: object) -> dict[str, Any] | None:
    """Return the JSON object in `raw`, as `read_json` does. Text after the first value is ignored, as by the
    docker CLI.
    """
    try:
        text = raw.decode("utf-8").lstrip()
        value = json.JSONDecoder().raw_decode(text)[0] if text else None
    except (ValueError, RecursionError) as error:
        line = f" (line {error.lineno})" if isinstance(error, json.JSONDecodeError) else ""
        raise EndpointError(
            what, subject=subject, want="a JSON object", got=f"text that is not JSON{line}"
        ) from None
    if value is not None and not isinstance(value, dict):
        raise EndpointError(what, subject=subject, want="a JSON object", got="another JSON value")
    return value


def field(value: Mapping[str, Any], name: str) -> Any:
    """Return the value of a key, ignoring case, as Go reads documents of a known form."""
    if name in value:
        return value[name]
    return next((item for key, item in value.items() if key.lower() == name.lower()), None)
