"""Logins and tokens by the forms in which they are written, and what only looks like one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgap.hiding import has_secret, hide, is_secret_name

HIDDEN = {
    "registry:user:hunter2@host:5000/x": "registry:user:***@host:5000/x",
    "registry:user:hun/ter2@host:5000/x": "registry:user:***@host:5000/x",
    "registry:user:hun@ter2@host:5000/x": "registry:user:***@host:5000/x",
    "registry:hunter2@host": "registry:***@host",
    "--to=registry:user:hunter2@host": "--to=registry:user:***@host",
    "user:hunter2@host/x:1": "user:***@host/x:1",
    "user:hunter2@host/x@sha256:00": "user:***@host/x@sha256:00",
    "user:hunter2@host:5000/x:1@sha256:00": "user:***@host:5000/x:1@sha256:00",
    "docker:tcp://user:hunter2@h:2375": "docker:tcp://user:***@h:2375",
    "docker:ssh://user:hunter2@h": "docker:ssh://user:***@h",
    "//user:hunter2@host": "//user:***@host",
    "http:user:hunter2@host": "http:user:***@host",
    "https:/user:hunter2@host/x": "https:/user:***@host/x",
    "https://bob:hu/nter2@ghcr.io/x": "https://bob:***@ghcr.io/x",
    "https://bob:hu?nt#er2@ghcr.io/x": "https://bob:***@ghcr.io/x",
    "https://user%3Ahunter2@h": "https://user:***@h",
    "docker.io=user:hunter2@mirror": "docker.io=user:***@mirror",
    "docker.io=https://user:hunter2@mirror/x": "docker.io=https://user:***@mirror/x",
    "got 'user:hunter2@h', want x": "got 'user:***@h', want x",
    "user:hunter2@h and user:hunter2@g": "user:***@h and user:***@g",
    "https://h/x?token=hunter2&a=1": "https://h/x?token=***&a=1",
    "https://h/x?a=1&X-Amz-Signature=hunter2": "https://h/x?a=1&X-Amz-Signature=***",
    "https://h/x?X-Amz-Credential=hunter2&X-Amz-Security-Token=hunter2": (
        "https://h/x?X-Amz-Credential=***&X-Amz-Security-Token=***"
    ),
    "https://h/x?sv=1&sig=hunter2": "https://h/x?sv=1&sig=***",
    "https://h/x#access_token=hunter2": "https://h/x#access_token=***",
    "Authorization: Bearer hunter2": "Authorization: Bearer ***",
    '"authorization": "Basic hunter2"': '"authorization": "Basic ***"',
    "Basic aHVudGVyMg==": "Basic ***",
    "sent bearer 0123456789abcdefhunter2": "sent bearer ***",
}


@pytest.mark.parametrize(("text", "hidden"), HIDDEN.items())
def test_what_is_hidden(text, hidden):
    assert hide(text) == hidden == hide(hidden)
    assert has_secret(text)
    assert not has_secret(hidden)


PLAIN = [
    "nginx:1.27@sha256:00", "docker.io/library/nginx:1.27@sha256:00", "localhost:5000/app@sha256:00",
    "registry://host:5000/a/b@sha512:00", "localhost:5000/app@latest", "registry:[::1]:5000/a@sha256:00",
    "docker:ssh://admin@plant7", "ssh://carrier@plant:22", "carrier@plant:22", "carrier@[fe80::1]:22",
    "git@github.com:acme/x", "archive:/home/me@work/x.tar", "oci:dir@2", "/mnt/12:30@x/b",
    "mailto:alice@example.com", "approved by alice@example.com, CHG-1: bob@example.com",
    "repository:acme/api:pull,push", "https://h/x?service=registry&scope=a:b", "https://h/?author=me",
    "Basic transfer of images", "Bearer instruments", "a = b; key=5", "",
]  # fmt: skip


@pytest.mark.parametrize("text", PLAIN)
def test_what_stays(text):
    assert hide(text) == text
    assert not has_secret(text)


@pytest.mark.parametrize(
    "text",
    ["registry:user:hunter2%40host", "https%3A%2F%2Fuser%3Ahunter2%40host", "user%253Ahunter2%2540host"],
)
def test_what_is_encoded(text):
    assert has_secret(text)


@given(st.text(st.sampled_from("ab:/@%40?=&*# 5.tokensig")))
def test_hidden_text_stays_as_it_is(text):
    assert hide(hide(text)) == hide(text)


@pytest.mark.parametrize("piece", ["a:", "@", "a:b@", "?token=", "//", ":@", "=a:b", "registry:", "a:@b"])
def test_a_long_text_is_looked_through(piece):
    """No expression in it takes more than a few passes: with one that did, this would not end."""
    hide(piece * 50_000 + "@c")


@pytest.mark.parametrize(("key", "secret"), [("password", True), ("auth-Token", True), ("ticket", False)])
def test_names_of_secrets(key, secret):
    assert is_secret_name(key) is secret
