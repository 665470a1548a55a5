import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from airgap.endpoints.logins import Credentials
from airgap.errors import AccessDeniedError, AirgapError, EndpointError, UnavailableError
from tests.support.registry import FakeRegistry, basic
from tests.unit.endpoints.registry_support import (
    BLOB,
    BLOB_DESCRIPTOR,
    IMAGE,
    Clock,
    Logins,
    client,
    drain,
    filled,
    named,
)
from tests.unit.endpoints.test_registry_push import BIG, BIG_DESCRIPTOR, KEY, put

ALICE = Credentials("alice", "s3cret-pässword")
WRONG = Credentials("alice", "wr0ng-password")
ROBOT = Credentials("", identity_token="refr3sh-token")


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield filled(registry)


def test_credentials_keep_their_secrets() -> None:
    assert "s3cret" not in repr(ALICE)
    assert "refr3sh" not in repr(ROBOT)


def test_the_store_is_not_asked_for_an_unneeded_login(fake: FakeRegistry) -> None:
    logins = Logins(ALICE)
    client(fake, credentials=logins).resolve(named(fake))
    assert not logins.asked
    assert "authorization" not in fake.requests[0].headers


def test_basic(fake: FakeRegistry) -> None:
    fake.require_basic(ALICE.user, ALICE.password)
    logins = Logins(ALICE)
    registry = client(fake, credentials=logins)
    registry.resolve(named(fake))
    registry.resolve(named(fake))
    assert logins.asked == [fake.host]
    sent = [r.headers.get("authorization") for r in fake.requests]
    assert sent == [None, basic(ALICE.user, ALICE.password), basic(ALICE.user, ALICE.password)]


def test_bearer_with_a_login(fake: FakeRegistry) -> None:
    tokens = fake.require_bearer({ALICE.user: ALICE.password})
    registry = client(fake, credentials=Logins(ALICE))
    registry.resolve(named(fake))
    registry.read_document(named(fake), IMAGE.descriptor)
    assert tokens.good == {"token-1": "repository:acme/api:pull"}
    (asked,) = fake.asked("GET", "/token")
    assert asked.path == "/token?scope=repository%3Aacme%2Fapi%3Apull&service=fake"
    assert len(fake.requests) == 4


def test_bearer_anonymous(fake: FakeRegistry) -> None:
    fake.require_bearer(anonymous=True)
    assert client(fake).resolve(named(fake)).digest == IMAGE.descriptor.digest
    assert "authorization" not in fake.asked("GET", "/token")[0].headers


def test_bearer_with_an_identity_token(fake: FakeRegistry) -> None:
    fake.require_bearer(refresh_tokens={ROBOT.identity_token}, field_name="access_token")
    assert client(fake, credentials=Logins(ROBOT)).resolve(named(fake)).digest == IMAGE.descriptor.digest
    (asked,) = fake.asked("POST", "/token")
    assert b"grant_type=refresh_token" in asked.body
    assert b"client_id=airgap" in asked.body


def test_the_token_of_a_further_repository_is_fetched_before_it_is_asked_for(fake: FakeRegistry) -> None:
    fake.require_bearer(anonymous=True)
    fake.add("acme/web", "1.0", IMAGE)
    registry, other = client(fake), named(fake).parse(f"{fake.host}/acme/web:1.0")
    registry.resolve(named(fake))
    fake.requests.clear()
    registry.resolve(other)
    assert [request.method for request in fake.requests] == ["GET", "HEAD"]
    assert "acme%2Fweb" in fake.requests[0].path


def test_a_token_that_cannot_be_fetched_before_may_not_be_needed(fake: FakeRegistry) -> None:
    fake.require_bearer(anonymous=True)
    registry = client(fake)
    registry.resolve(named(fake))
    fake.tokens = None
    fake.add("acme/web", "1.0", IMAGE)
    fake.fault(path="/token", status=403, body=b"")
    assert registry.resolve(named(fake).parse(f"{fake.host}/acme/web:1.0")).digest == IMAGE.descriptor.digest


def test_pushing_asks_for_push(fake: FakeRegistry) -> None:
    tokens = fake.require_bearer(anonymous=True)
    put(fake)
    assert fake.blobs[KEY] == BIG
    assert tokens.good == {"token-1": "repository:acme/api:pull,push"}


@pytest.mark.parametrize(
    ("expires_in", "after", "fetched"), [(300, 239, 1), (300, 241, 2), (None, 49, 2), (0, 47, 1)]
)
def test_a_token_is_kept_for_most_of_its_life(
    fake: FakeRegistry, expires_in: int | None, after: float, fetched: int
) -> None:
    tokens = fake.require_bearer(anonymous=True, expires_in=expires_in)
    clock = Clock()
    registry = client(fake, clock=clock)
    registry.resolve(named(fake))
    clock.now += after
    registry.resolve(named(fake))
    assert tokens.issued == fetched


def test_a_token_that_is_refused_early_is_renewed_once(fake: FakeRegistry) -> None:
    tokens = fake.require_bearer(anonymous=True)
    registry = client(fake)
    registry.resolve(named(fake))
    tokens.good.clear()
    assert drain(registry.open_blob(named(fake), BLOB_DESCRIPTOR)) == BLOB
    assert tokens.issued == 2


def test_a_token_that_is_never_good(fake: FakeRegistry) -> None:
    tokens = fake.require_bearer(anonymous=True)
    fake.fault(
        method="HEAD",
        status=401,
        headers={"www-authenticate": f'Bearer realm="{fake.url}/token",service="fake"'},
    )
    with pytest.raises(AccessDeniedError):
        client(fake).resolve(named(fake))
    assert tokens.issued == 1


def test_a_login_that_runs_out_during_an_upload(fake: FakeRegistry) -> None:
    tokens = fake.require_bearer(anonymous=True)
    registry = client(fake)
    fake.fault(method="PUT", status=401, times=1, headers={"www-authenticate": "Bearer"})
    with pytest.raises(UnavailableError, match="expired"):
        registry.put_blob(named(fake), BIG_DESCRIPTOR, io.BytesIO(BIG))
    registry.put_blob(named(fake), BIG_DESCRIPTOR, io.BytesIO(BIG))
    assert tokens.issued == 2


DENIED = [
    # set-up, login, want of the message
    ("basic", None, "a user name and password are needed"),
    ("basic", ROBOT, "a user name and password are needed"),
    ("basic", WRONG, "HTTP 401 (UNAUTHORIZED: log in)"),
    ("bearer", None, "incorrect username or password"),
    ("bearer", WRONG, "incorrect username or password"),
    ("bearer", ROBOT, "incorrect username or password"),
]


@pytest.mark.parametrize(("kind", "login", "text"), DENIED)
def test_access_denied(fake: FakeRegistry, kind: str, login: Credentials | None, text: str) -> None:
    if kind == "basic":
        fake.require_basic(ALICE.user, ALICE.password)
    else:
        fake.require_bearer({ALICE.user: ALICE.password})
    with pytest.raises(AccessDeniedError) as caught:
        client(fake, credentials=Logins(login)).read_document(named(fake), IMAGE.descriptor)
    assert text in str(caught.value)
    assert caught.value.hint == f"docker login {fake.host}"
    assert "wr0ng" not in str(caught.value)
    assert "refr3sh" not in str(caught.value)


def test_a_basic_login_that_stops_working(fake: FakeRegistry) -> None:
    fake.require_basic(ALICE.user, ALICE.password)
    registry = client(fake, credentials=Logins(ALICE))
    registry.resolve(named(fake))
    fake.require_basic(ALICE.user, "changed")
    with pytest.raises(AccessDeniedError, match="the login is refused"):
        registry.resolve(named(fake))


def test_forbidden_is_not_a_matter_of_logging_in_again(fake: FakeRegistry) -> None:
    fake.fault(status=403, body=b'{"errors":[{"code":"DENIED","message":"not yours"}]}')
    with pytest.raises(AccessDeniedError, match=r"HTTP 403 \(DENIED: not yours\)"):
        client(fake).read_document(named(fake), IMAGE.descriptor)
    assert len(fake.requests) == 1


CHALLENGES = [
    (None, AccessDeniedError, "access denied"),
    ("Negotiate", EndpointError, "got negotiate"),
    ('Digest realm="x", Negotiate abc==', EndpointError, "got digest, negotiate"),
    ('Bearer realm="', EndpointError, "malformed"),
    ("Bearer realm=http://x", EndpointError, "malformed"),
    ('Bearer realm="a",realm="b"', EndpointError, "malformed"),
    (",", EndpointError, "malformed"),
    ("Bearer", EndpointError, "got no address"),
    ('Bearer realm="ftp://x/"', EndpointError, "got ftp:"),
    ('Bearer realm="http://auth.example/token"', EndpointError, "plain HTTP, which is refused"),
    ('Bearer realm="https://u:p@auth.example/"', EndpointError, "usable address"),
    ('Bearer realm="/nowhere"', EndpointError, "token service"),
]  # fmt: skip


@pytest.mark.parametrize(("challenge", "error", "text"), CHALLENGES)
def test_odd_challenges(
    fake: FakeRegistry, challenge: str | None, error: type[AirgapError], text: str
) -> None:
    fake.fault(method="HEAD", status=401, headers={"www-authenticate": challenge})
    with pytest.raises(error) as caught:
        client(fake).resolve(named(fake))
    assert text in str(caught.value)


TOKEN_ANSWERS = [
    ({"body": b"<html>welcome</html>"}, EndpointError, "the token service sent no token"),
    ({"body": b"[]"}, EndpointError, "the token service sent no token"),
    ({"body": b"{}"}, EndpointError, "want token or access_token"),
    ({"body": b'{"token":""}'}, EndpointError, "want token or access_token"),
    ({"body": b'{"token":7}'}, EndpointError, "want token or access_token"),
    ({"body": b'{"token":"a b"}'}, EndpointError, "want token or access_token"),
    ({"body": b'{"token":"a\\r\\nX-Evil: 1"}'}, EndpointError, "want token or access_token"),
    ({"body": b'{"token":"\\u00e4"}'}, EndpointError, "want token or access_token"),
    ({"body": b'{"token":"a","token":"b"}'}, EndpointError, "the token service sent no token"),
    ({"body": b" " * (1 << 19)}, EndpointError, "answer too large"),
    ({"status": 302, "headers": {"location": "/v2/"}}, EndpointError, "HTTP 302"),
    ({"status": 404}, EndpointError, "token service"),
    ({"status": 403}, AccessDeniedError, "HTTP 403"),
    ({"status": 503}, UnavailableError, "HTTP 503"),
    ({"drop_at": 3}, UnavailableError, "broke"),
    ({"drop_at": -1}, UnavailableError, "cannot reach"),
]


@pytest.mark.parametrize(("rule", "error", "text"), TOKEN_ANSWERS)
def test_odd_token_services(
    fake: FakeRegistry, rule: dict[str, object], error: type[AirgapError], text: str
) -> None:
    fake.require_bearer(anonymous=True)
    fake.fault(path="/token", **rule)
    with pytest.raises(error) as caught:
        client(fake).resolve(named(fake))
    assert text in str(caught.value)
    assert f"{fake.host}/acme/api:1.0 (token service)" in str(caught.value)


def test_a_busy_token_service_is_asked_again(fake: FakeRegistry) -> None:
    fake.require_bearer(anonymous=True)
    fake.fault(path="/token", status=503, times=2)
    assert client(fake).resolve(named(fake)).digest == IMAGE.descriptor.digest


@pytest.mark.parametrize("expires", [b"null", b'"300"', b"-5", b"true", b"1.5"])
def test_an_odd_life_of_a_token_is_the_default(fake: FakeRegistry, expires: bytes) -> None:
    fake.require_bearer(anonymous=True).good["t"] = "repository:acme/api:pull"
    fake.fault(path="/token", body=b'{"token":"t","expires_in":' + expires + b"}")
    clock = Clock()
    registry = client(fake, clock=clock)
    registry.resolve(named(fake))
    clock.now += 47
    registry.resolve(named(fake))
    assert len(fake.asked("GET", "/token")) == 1


def test_secrets_that_a_server_repeats_are_not_shown(fake: FakeRegistry) -> None:
    fake.require_bearer({ALICE.user: ALICE.password})
    registry = client(fake, credentials=Logins(ALICE))
    registry.resolve(named(fake))
    sent = basic(ALICE.user, ALICE.password).split()[1]
    echo = f'{{"message":"you said token-1 {sent} {ALICE.password}"}}'
    fake.fault(status=400, body=echo.encode())
    with pytest.raises(EndpointError) as caught:
        registry.read_document(named(fake), IMAGE.descriptor)
    assert "you said *** *** ***" in str(caught.value)


def test_threads_share_one_token(fake: FakeRegistry) -> None:
    tokens = fake.require_bearer(anonymous=True)
    registry = client(fake)
    with ThreadPoolExecutor(8) as pool:
        assert len({d.digest for d in pool.map(lambda _: registry.resolve(named(fake)), range(16))}) == 1
    assert tokens.issued == 1
