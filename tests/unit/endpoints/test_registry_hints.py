"""What is advised about refused pushes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgap.endpoints.registry.errors import push_hint, says_tag_is_immutable, status_error


@pytest.mark.parametrize(
    ("status", "text", "hint"),
    [
        (404, "(NAME_UNKNOWN: no such repository)", "create the repository"),
        (404, "", "--map FROM=TO"),
        (401, "(UNAUTHORIZED: project acme not found)", "create the project"),
        (404, "(NOT_FOUND: namespace acme does not exist)", "create the project"),
        (403, "(DENIED: no)", "docker login h.example with an account that may push"),
        (400, "(NAME_INVALID: too deep)", "fewer parts"),
        (405, "(UNSUPPORTED: no)", "read-only"),
        (503, "", "read-only"),
        (403, "(DENIED: the registry is in read-only mode)", "docker login"),
        (400, "(UNKNOWN: read only)", "read-only"),
        (413, "", "client_max_body_size"),
        (415, "", "documents of this type"),
        (400, "(MANIFEST_INVALID: x)", "documents of this type"),
        (418, "", None),
    ],
)
def test_hints(status: int, text: str, hint: str | None) -> None:
    found = push_hint(status, text, "h.example")
    assert found is None if hint is None else hint in str(found)


@pytest.mark.parametrize(
    ("text", "locked"),
    [
        ("(TAG_INVALID: The image tag '1' already exists and cannot be overwritten)", True),
        ("(PRECONDITION: 'app:1' configured as immutable)", True),
        ("(BLOB_UPLOAD_INVALID: Repository does not allow updating assets)", True),
        ("(DENIED: tag is protected)", True),
        ("(MANIFEST_BLOB_UNKNOWN: blob unknown to registry)", False),
        ("", False),
    ],
)
def test_locked(text: str, *, locked: bool) -> None:
    assert says_tag_is_immutable(text) is locked


@given(st.text(max_size=400))
def test_any_text_is_read(text: str) -> None:
    push_hint(400, text, "h.example")
    assert isinstance(says_tag_is_immutable(text), bool)


def test_only_pushes_are_advised_so() -> None:
    body = b'{"errors":[{"code":"NAME_UNKNOWN"}]}'
    assert status_error(404, {}, body, "x", "h.example").hint is None
    error = status_error(404, {}, body, "x", "h.example", writes=True)
    assert (error.status, "create the repository" in str(error.hint)) == (404, True)
