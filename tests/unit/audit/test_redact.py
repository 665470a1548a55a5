import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgap.audit.redact import redact, redact_fields
from airgap.oci.strict_json import dump


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("https://bob:hunter2@ghcr.io/acme", "https://bob:***@ghcr.io/acme"),
        ("https://bob:hun@ter2@ghcr.io/acme", "https://bob:***@ghcr.io/acme"),
        ("https://:hunter2@ghcr.io", "https://:***@ghcr.io"),
        ("HTTPS://bob:hunter2@ghcr.io", "HTTPS://bob:***@ghcr.io"),
        ("https://ghp_abc@github.com/x", "https://***@github.com/x"),
        ("at ssh://root:pw@a and ftp://u:pw@b.", "at ssh://root:***@a and ftp://u:***@b."),
        ("docker:ssh://admin@plant7", "docker:ssh://admin@plant7"),
        ("registry://host:5000/a/b@sha256:00", "registry://host:5000/a/b@sha256:00"),
        ("http://127.0.0.1:5000/v2/", "http://127.0.0.1:5000/v2/"),
        ("docker.io/library/nginx:1.27@sha256:00", "docker.io/library/nginx:1.27@sha256:00"),
        ("name\udcff", "name\\udcff"),
    ],
)
def test_text(text, kept):
    assert redact(text) == kept
    assert redact({"a": [text, {text: text}]}) == {"a": [kept, {kept: kept}]}


@pytest.mark.parametrize(
    "key",
    ["password", "PASSWD", "registry_password", "passphrase", "token", "identitytoken", "accessToken",
     "Authorization", "client-secret", "credentials"],
)  # fmt: skip
@pytest.mark.parametrize("wrap", [lambda d: d, lambda d: {"a": d}, lambda d: {"a": [1, d]}])
def test_secrets_are_refused(key, wrap):
    with pytest.raises(ValueError, match="secret") as caught:
        redact_fields(wrap({key: "hunter2"}))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "value", [1.5, b"raw", Path("/x"), datetime.now(UTC), {1, 2}, object(), float("nan")]
)
def test_what_is_not_json_is_refused(value):
    with pytest.raises(ValueError, match="cannot hold"):
        redact_fields({"a": [value]})


@pytest.mark.parametrize("key", [1, None, b"a", (1,)])
def test_keys_are_strings(key):
    with pytest.raises(ValueError, match="not a string"):
        redact({key: 1})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=10,
)


@given(JSON)
def test_what_is_kept_is_json_and_stays_as_it_is(value):
    kept = redact(value)
    assert json.loads(dump(kept)) == kept
    assert redact(kept) == kept
    assert dump(kept).decode().encode() == dump(kept)


def test_tuples_become_lists():
    assert redact((1, (True, None))) == [1, [True, None]]
