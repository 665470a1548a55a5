"""Hints about a refused push: registries agree on error codes, but not on when to use which."""

import re

_LOCKED = re.compile(
    r"immutable|already exists|overwrit|not allow updating|cannot be updated|redeploy|is locked|protected",
    re.IGNORECASE,
)
"""Amazon ECR, Harbor, Quay, Nexus, Artifactory and GitLab each use other words for a tag that cannot be
changed."""

_CREATE = (
    "create the repository first, if the registry does not create it by itself, or use another "
    "name: --map FROM=TO"
)
_PROJECT = re.compile(
    r"(?:project|namespace|organi[sz]ation|user) [^:;]{0,200}(?:not found|not exist)", re.IGNORECASE
)
_RENAME = "this registry does not accept the name; use fewer parts or your own namespace: --map FROM=TO"
_READ_ONLY = "the registry may be read-only, for example during maintenance"
_TOO_LARGE = "a proxy in front of the registry limits the size of a request (nginx: client_max_body_size 0)"
_KIND = "this registry does not accept documents of this type"


def is_locked(text: str) -> bool:
    """Return whether a refusal says that an existing tag may not be replaced."""
    return _LOCKED.search(text) is not None


def push_hint(status: int, text: str, host: str) -> str | None:
    """Return the hint for a refusal with this status; `text` is the registry's explanation."""
    if _PROJECT.search(text):
        return "create the project first, or map the images to another one: --map FROM=TO"
    if status == 404 and ("NAME_UNKNOWN" in text or "REPOSITORY_NOT_FOUND" in text or not text):
        return _CREATE
    if "NAME_INVALID" in text:
        return _RENAME
    if status in (401, 403):
        return (
            f"docker login {host} with an account that may push; some registries give the same answer "
            "if the project or namespace does not exist, or the name has too many parts: change it with "
            "--map FROM=TO"
        )
    if status in (405, 503) or "READ_ONLY" in text.upper().replace(" ", "_").replace("-", "_"):
        return _READ_ONLY
    if status == 413:
        return _TOO_LARGE
    if status == 415 or "MANIFEST_INVALID" in text:
        return _KIND
    return None
