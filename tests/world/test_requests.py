"""Public registries count requests: few are made, none twice, and a limit is waited for."""

import datetime as dt
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from email.utils import format_datetime
from pathlib import Path

import pytest

from airgap.endpoints.registry import Registry
from airgap.errors import UnavailableError
from tests.e2e.airgap import Gap, make_gap
from tests.support.attachments import Way
from tests.support.far_registry import FarProxy
from tests.support.registry import FakeRegistry
from tests.support.registry_parts import Answer, Request, error
from tests.support.requests import CASES, count, image_of, platforms
from tests.unit.endpoints.registry_support import Clock, named
from tests.world.table import Kind, Row, observed, replays

DOCUMENT = Path(__file__).parents[2] / "docs" / "registries.md"
PER_MINUTE = 200
WITHOUT_ATTACHMENTS = [
    case for case in CASES if not case.endswith(("signature", ", referrer", "numbers only"))
]


@pytest.fixture
def gap(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Gap:
    return make_gap(tmp_path, capsys)


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


def spelt(found: Counter[str]) -> str:
    parts = ", ".join(f"{number} {kind}" for kind, number in sorted(found.items()))
    return f"{found.total()} ({parts})"


@pytest.mark.parametrize("case", CASES)
def test_what_a_lock_and_a_pack_cost(gap: Gap, fake: FakeRegistry, case: str) -> None:
    wanted = CASES[case]
    image = wanted.image
    fake.add("app", "1", image)
    wanted.arrange(fake, image)
    path = gap.folder / "stack.yaml"
    names = ", ".join(platforms(wanted.platforms))
    path.write_text(
        f"version: 1\nname: stack\nplatforms: [{names}]\nimages:\n  - {fake.host}/app:1\n", encoding="utf-8"
    )
    gap.online("lock", path)
    locked, lock = count(fake.requests), list(fake.requests)
    assert repeated(lock) == []
    gap.online("pack", path, "--to", gap.folder / "stick")
    packed = count(fake.requests[len(lock) :])
    assert not {"referrers", "tag list", "tags"} & set(packed)
    cells = {"lock": spelt(locked), "pack after it": spelt(packed)}
    line = f"| {case} | {cells['lock']} | {cells['pack after it']} |"
    observed("requests", case, cells)
    assert line in DOCUMENT.read_text(encoding="utf-8").splitlines()
    if case in WITHOUT_ATTACHMENTS:
        own = max(locked["manifests"], wanted.platforms + 1)
        assert locked.total() <= (16 if wanted.platforms == 10 else own + 3)


def repeated(requests: list[Request]) -> list[str]:
    """What was asked more than once, though it was answered."""
    seen = Counter(
        (request.method, request.path, request.headers.get("authorization")) for request in requests
    )
    return [path for (_, path, _), number in seen.items() if number > 1]


def test_a_pack_without_a_lock_reads_each_document_once(gap: Gap, fake: FakeRegistry) -> None:
    fake.add("app", "1", image_of(3))
    manifest = (
        f"version: 1\nname: stack\nplatforms: [{', '.join(platforms(3))}]\nimages:\n  - {fake.host}/app:1\n"
    )
    gap.pack(manifest)
    assert repeated(fake.requests) == []
    assert count(fake.requests) == {
        "manifests": 5, "referrers": 1, "tag list": 1, "configs and layers": 6,
    }  # fmt: skip


class LimitedRegistry(FakeRegistry):
    """Answers so many requests a minute, by the clock of the test."""

    def __init__(self, clock: Clock, retry_after: Callable[[], str]) -> None:
        super().__init__()
        self.clock = clock
        self.retry_after = retry_after
        self.window = Counter[int]()
        self.counting = threading.Lock()
        self.answered: list[Request] = []

    def answer(self, request: Request) -> Answer:
        with self.counting:
            minute = int(self.clock.now // 60)
            self.window[minute] += 1
            if self.window[minute] > PER_MINUTE:
                refusal = error(429, "TOOMANYREQUESTS", "rate limit")
                return Answer(429, refusal.body, refusal.headers | {"retry-after": self.retry_after()})
            self.answered.append(request)
        return super().answer(request)


def in_seconds(seconds: float) -> Callable[[], str]:
    return lambda: format_datetime(dt.datetime.now(dt.UTC) + dt.timedelta(seconds=seconds), usegmt=True)


def row(who: str, does: str, reported: str, answer: str) -> Row:
    return Row(Kind.OPTIONAL, who, does, reported, answer)


WAITS = "Waits as long as asked, reports the wait, and does not repeat answered requests"


@replays({
    "a minute": (
        row("Registries that limit requests a minute", "Answer 429 with Retry-After in seconds", "CodesWhat/drydock#343", WAITS),
        lambda: "60",
    ),
    "over a minute": (
        row("Amazon ECR", "Answers 429 for longer than four quick tries take", "containerd/containerd#10447", WAITS),
        lambda: "75",
    ),
    "a date": (
        row("HTTP servers", "May give Retry-After as a date", "RFC 9110, 10.2.3", WAITS),
        in_seconds(90),
    ),
})  # fmt: skip
def test_twenty_images_of_ten_platforms_get_through_a_limit(case: Callable[[], str]) -> None:
    clock = Clock()
    images = {f"app{number}": image_of(10, f"app{number}x") for number in range(20)}
    with LimitedRegistry(clock, case) as fake:
        fake.referrers_api = True
        for name, image in images.items():
            fake.add(name, "1", image)
        way = Way(fake, clock=clock)
        plan = way.go(*(f"{name}:1" for name in images), head=f"platforms: [{', '.join(platforms(10))}]\n")
        assert len(plan.images) == 20
        assert plan.unknown == {}
        assert repeated(fake.answered) == []
        assert len(fake.answered) == 20 * (2 + 11 + 1 + 10 + 10)
    assert way.notices
    assert all(
        "asks us to wait" in notice and "of at most 3,600 s in all" in notice for notice in way.notices
    )


@replays({
    "without a time": (
        row("GHCR", "Answers 429 without a Retry-After header", "dependabot/cli#380",
            "Tries again eight times, with growing pauses"), None,
    ),
})  # fmt: skip
def test_a_limit_without_a_time(fake: FakeRegistry, case: None) -> None:
    clock = Clock()
    fake.add("acme/api", "1.0", image_of(1))
    fake.fault(status=429, times=8)
    assert Way(fake, clock=clock).client().resolve(named(fake)).digest == image_of(1).descriptor.digest
    assert 60 < sum(clock.slept) < 130
    fake.fault(status=429)
    fake.requests.clear()
    with pytest.raises(UnavailableError, match="HTTP 429"):
        Way(fake).client().resolve(named(fake))
    assert len(fake.requests) == 9


@replays({
    "hours": (
        row("Docker Hub", "Refuses pulls until a window of six hours has passed", "ScribeMD/docker-cache#829",
            "Waits an hour in all, then reports how long a wait the registry asks for"), "21600",
    ),
    "again and again": (
        row("Docker Hub", "Goes on refusing after the time that it named", "docker/hub-feedback#2464",
            "Waits an hour in all, then reports how long a wait the registry asks for"), "600",
    ),
})  # fmt: skip
def test_waiting_ends(fake: FakeRegistry, case: str) -> None:
    clock, notices = Clock(), list[str]()
    fake.add("acme/api", "1.0", image_of(1))
    fake.fault(status=429, headers={"retry-after": case})
    way = Way(fake, notices, clock)
    with pytest.raises(
        UnavailableError, match=r"asks for too long a wait: .*, want at most 3,600 s in all"
    ) as caught:
        way.client().resolve(named(fake))
    assert "docker login" in (caught.value.hint or "")
    assert sum(clock.slept) <= 3600
    assert len(notices) == len(clock.slept) == 3600 // int(case)


def test_all_threads_wait_when_one_must(fake: FakeRegistry) -> None:
    clock = Clock()
    fake.add("acme/api", "1.0", image_of(1))
    client: Registry = Way(fake, clock=clock).client(
        sleep=lambda seconds: others(seconds)  # noqa: PLW0108 - defined below
    )
    asked: list[int] = []

    def others(seconds: float) -> None:
        """While one thread sleeps, another one asks: it sleeps too, and then is answered."""
        clock.sleep(seconds)
        if len(clock.slept) == 1:
            clock.now -= seconds
            client.resolve(named(fake))
            asked.append(len(fake.requests))

    fake.fault(status=429, headers={"retry-after": "30"}, times=1)
    client.resolve(named(fake))
    assert clock.slept == [30, 30]
    assert asked == [2]
    assert len(fake.requests) == 3


def test_a_far_registry_answers_as_a_near_one(fake: FakeRegistry) -> None:
    """The line that the bench uses changes nothing but times."""
    image = image_of(2)
    fake.add("app", "1", image)
    with FarProxy(int(fake.host.rpartition(":")[2]), round_trip=0.002, rate=1e9) as far:
        client = Way(fake).client()
        near, distant = client, Registry(far.host)
        reference = named(fake).parse(f"{fake.host}/app:1")
        assert distant.resolve(reference) == near.resolve(reference)
        assert distant.read_document(reference, image.descriptor) == image.raw
        assert far.connections == 1
        distant.close()


def test_a_mirror_is_waited_for_less_long(fake: FakeRegistry) -> None:
    fake.add("acme/api", "1.0", image_of(1))
    with FakeRegistry() as mirror:
        mirror.fault(status=429, headers={"retry-after": "75"})
        clock = Clock()
        assert Way(fake, clock=clock).client(mirrors=(mirror.host,)).resolve(named(fake))
        assert clock.slept == []
