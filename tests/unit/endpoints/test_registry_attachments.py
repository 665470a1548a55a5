"""Attachments are searched side by side, in a bounded number, and reported in the order of their subjects."""

import threading
from collections.abc import Iterator

import pytest

from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_INDEX, OCI_MANIFEST, Descriptor
from tests.support.registry import FakeRegistry
from tests.support.registry_parts import Answer, Request, error, index_of
from tests.unit.endpoints.registry_support import client, filled, named

SUBJECTS = [Digest.of(b"%d" % number) for number in range(12)]
PATIENCE_SECONDS = 60


class Queue:
    """Answers requests for referrers after the first one only once `wanted` of them wait together."""

    def __init__(self, wanted: int) -> None:
        self._wanted = wanted
        self._lock = threading.Lock()
        self._full = threading.Event()
        self._waiting = 0
        self.asked = 0
        self.most = 0

    def __call__(self, request: Request) -> Answer | None:
        if "/referrers/" not in request.path:
            return None
        with self._lock:
            self.asked += 1
            self._waiting += 1
            self.most = max(self.most, self._waiting)
            if self._waiting == self._wanted:
                self._full.set()
            alone = self.asked == 1
        if not alone:
            self._full.wait(PATIENCE_SECONDS)
        with self._lock:
            self._waiting -= 1
        about = request.path.rpartition("/")[2]
        entry = Descriptor(OCI_MANIFEST, Digest.of(about.encode()), 2).to_json()
        return Answer(200, index_of([entry]), {"content-type": OCI_INDEX})


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield filled(registry)


def test_half_of_the_connections_are_used_at_a_time(fake: FakeRegistry) -> None:
    queue = Queue(wanted=4)
    fake.habits.append(queue)
    found = client(fake, connections=8).attachments(named(fake), SUBJECTS)
    assert queue.most == 4
    assert queue.asked == len(SUBJECTS)
    assert [attachment.subject for attachment in found.found] == SUBJECTS
    assert found.unknown == ()


def test_a_refused_question_is_not_asked_for_the_other_subjects(fake: FakeRegistry) -> None:
    fake.habits.append(lambda r: error(403, "DENIED", "no") if "/referrers/" in r.path else None)
    found = client(fake).attachments(named(fake), SUBJECTS)
    assert len(fake.asked("GET", "/referrers/")) == 1
    assert found.found == ()
    assert len(found.unknown) == 1
    assert found.unknown[0].startswith("referrers API: ")
