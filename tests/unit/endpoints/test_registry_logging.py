"""What the registry client logs, and that no login is in it."""

import base64
import logging
import re
from collections.abc import Iterator

import pytest

from airgap.endpoints.logins import Credentials
from airgap.errors import EndpointError
from tests.support.registry import FakeRegistry, basic
from tests.support.registry_parts import Answer, Request
from tests.unit.endpoints.registry_support import (
    BLOB,
    BLOB_DESCRIPTOR,
    IMAGE,
    Logins,
    client,
    drain,
    filled,
    named,
)

ALICE = Credentials("alice", "s3cret/pässword", origin="config.json")
ROBOT = Credentials("robot", identity_token="refr3sh-token")
BEARER = Credentials("", registry_token="b3arer-token")


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield filled(registry)


@pytest.fixture(autouse=True)
def _every_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)


def lines(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [
        record.getMessage()
        for record in caplog.records
        if record.levelno == level and record.name.startswith("airgap.endpoints.registry.")
    ]


def test_each_exchange_is_one_line_without_its_query(
    fake: FakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    with FakeRegistry() as fake.storage:
        drain(client(fake).open_blob(named(fake), BLOB_DESCRIPTOR))
        path = f"/v2/acme/api/blobs/{BLOB_DESCRIPTOR.digest}"
        assert [re.sub(r"\d+ ms", "0 ms", line) for line in lines(caplog, logging.DEBUG)] == [
            f"GET {fake.url}{path}: HTTP 307, 0 bytes, 0 ms",
            f"GET {fake.storage.url}/storage/{BLOB_DESCRIPTOR.digest.hex}: HTTP 200, {len(BLOB)} bytes, 0 ms",
        ]


def test_a_failed_exchange_is_a_line_too(fake: FakeRegistry, caplog: pytest.LogCaptureFixture) -> None:
    fake.fault(drop_at=-1, times=1)
    client(fake).resolve(named(fake))
    assert "cannot reach the registry" in lines(caplog, logging.DEBUG)[0]
    (retry,) = lines(caplog, logging.INFO)
    assert re.search(r"cannot reach the registry: .*; trying again in 0\.\d s", retry)


def test_a_wait_for_the_rate_limit_is_logged(fake: FakeRegistry, caplog: pytest.LogCaptureFixture) -> None:
    fake.fault(status=429, headers={"retry-after": "75"}, times=1)
    client(fake).resolve(named(fake))
    assert lines(caplog, logging.INFO) == [
        f"{fake.host} asks us to wait 75 s (75 s of at most 3,600 s in all)"
    ]


def test_the_next_registry_after_a_mirror_is_logged(
    fake: FakeRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    with FakeRegistry() as mirror:
        client(fake, mirrors=(f"http://{mirror.host}",)).resolve(named(fake))
        (line,) = lines(caplog, logging.INFO)
        assert line.startswith(f"mirror {mirror.host} failed, and the next registry is asked: not found: ")


def test_the_user_of_a_login_is_logged(fake: FakeRegistry, caplog: pytest.LogCaptureFixture) -> None:
    fake.require_basic(ALICE.user, ALICE.password)
    client(fake, credentials=Logins(ALICE)).resolve(named(fake))
    assert lines(caplog, logging.INFO) == [f"{fake.host}: logs in as alice"]


def secrets(login: Credentials) -> list[str]:
    pair = base64.b64encode(f"{login.user}:{login.password}".encode()).decode()
    words = [login.password, login.identity_token, login.registry_token, pair if login.password else ""]
    return ["token-1", "token-2", *filter(None, words)]


def repeats(request: Request) -> Answer | None:
    """Repeat what was sent to log in: first in a redirect, then in an error."""
    given = request.headers.get("authorization", "").partition(" ")[2]
    if not given:
        return None
    if request.path.startswith("/echo/"):
        return Answer(503, f'{{"errors":[{{"code":"X","message":"you sent {given}"}}]}}'.encode())
    return Answer(307, b"", {"location": f"/echo/{given}/s3cret%2Fp%C3%A4ssword/refr3sh-token?token={given}"})


@pytest.mark.parametrize("hostile", [False, True])
@pytest.mark.parametrize("login", [ALICE, ROBOT, BEARER], ids=lambda login: login.user or "token")
def test_no_login_and_no_token_is_in_any_record(
    fake: FakeRegistry, caplog: pytest.LogCaptureFixture, login: Credentials, *, hostile: bool
) -> None:
    if login is BEARER:
        fake.habits.append(lambda request: None if "authorization" in request.headers else refuse())
    else:
        fake.require_bearer({ALICE.user: ALICE.password}, refresh_tokens={ROBOT.identity_token})
    if hostile:
        fake.habits.append(repeats)
    registry = client(fake, credentials=Logins(login), retries=1)
    if hostile:
        with pytest.raises(EndpointError):
            registry.read_document(named(fake), IMAGE.descriptor)
    else:
        assert registry.read_document(named(fake), IMAGE.descriptor) == IMAGE.raw
    ours = [record for record in caplog.records if record.name.startswith("airgap.")]
    assert len(ours) >= 2
    for record in ours if hostile else caplog.records:  # urllib3 has a line with the path that it requests
        text = f"{record.getMessage()} {record.args} {record.exc_text}"
        assert not [secret for secret in secrets(login) if secret in text]


def refuse() -> Answer:
    return Answer(401, b"", {"www-authenticate": 'Bearer realm="http://127.0.0.1/token",service="fake"'})


def test_a_refused_password_is_in_no_record(fake: FakeRegistry, caplog: pytest.LogCaptureFixture) -> None:
    fake.require_basic("alice", "another")
    body = f'{{"message":"wrong password {ALICE.password}, {basic(ALICE.user, ALICE.password)}"}}'
    fake.fault(skip=1, status=503, body=body.encode())
    with pytest.raises(EndpointError):
        client(fake, credentials=Logins(ALICE)).resolve(named(fake))
    assert any("trying again" in record.getMessage() for record in caplog.records)
    for record in caplog.records:
        assert not [secret for secret in secrets(ALICE) if secret in record.getMessage()]
