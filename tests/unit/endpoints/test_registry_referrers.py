"""Referrers, by the API and by the fallback tag; and the list of tags."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from airgap.errors import AirgapError, EndpointError, UnavailableError
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_INDEX, OCI_MANIFEST, Descriptor
from airgap.oci.referrers import fallback_tag
from tests.support.registry import FakeRegistry
from tests.support.registry_parts import index_of
from tests.unit.endpoints.registry_support import IMAGE, client, filled, named

SUBJECT = IMAGE.descriptor.digest
TAG = fallback_tag(SUBJECT)
KIND = "application/vnd.example.sbom"


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield filled(registry)


@pytest.fixture(params=[True, False], ids=["api", "tag"])
def either(request: pytest.FixtureRequest, fake: FakeRegistry) -> FakeRegistry:
    fake.referrers_api = request.param
    return fake


def referrer(number: int) -> tuple[Descriptor, bytes]:
    empty = {"mediaType": "application/vnd.oci.empty.v1+json", "digest": str(Digest.of(b"{}")), "size": 2}
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "artifactType": KIND,
        "config": empty,
        "layers": [empty],
        "subject": IMAGE.descriptor.to_json(),
        "annotations": {"number": str(number)},
    }
    raw = json.dumps(manifest).encode()
    return Descriptor(
        OCI_MANIFEST,
        Digest.of(raw),
        len(raw),
        platform=None,
        annotations={"number": str(number)},
        artifact_type=KIND,
    ), raw


def entry(number: int) -> dict[str, Any]:
    return referrer(number)[0].to_json()


def put(fake: FakeRegistry, *numbers: int) -> None:
    registry = client(fake)
    for number in numbers:
        registry.put_referrer(named(fake), SUBJECT, *referrer(number))


def listed(fake: FakeRegistry) -> list[Digest]:
    return [found.digest for found in client(fake).referrers(named(fake), SUBJECT)]


def digests(*numbers: int) -> list[Digest]:
    return [referrer(number)[0].digest for number in numbers]


def test_none(either: FakeRegistry) -> None:
    assert listed(either) == []


def test_what_was_put_is_listed(either: FakeRegistry) -> None:
    put(either, 1, 2)
    assert listed(either) == digests(1, 2)
    (found, _) = client(either).referrers(named(either), SUBJECT)
    assert found.artifact_type == KIND
    assert (("acme/api", TAG) in either.manifests) is not either.referrers_api


def test_putting_twice_lists_once(either: FakeRegistry) -> None:
    put(either, 1, 1)
    put(either, 1)
    assert listed(either) == digests(1)


def test_what_the_list_shows_travels(fake: FakeRegistry) -> None:
    put(fake, 1)
    (found,) = client(fake).referrers(named(fake), SUBJECT)
    assert found == referrer(1)[0]
    assert found.annotations == {"number": "1"}


def test_the_api_is_asked_for_the_digest(fake: FakeRegistry) -> None:
    listed(fake)
    asked = [request.path for request in fake.requests]
    assert asked == [f"/v2/acme/api/referrers/{SUBJECT}", f"/v2/acme/api/manifests/{TAG}"]


@pytest.mark.parametrize(
    "rule",
    [{"status": 404}, {"status": 405}, {"status": 501}, {"headers": {"content-type": "text/html"}}],
)
def test_without_the_api_the_tag_is_read(fake: FakeRegistry, rule: dict[str, Any]) -> None:
    put(fake, 1)
    fake.referrers_api = True
    fake.fault(path="/referrers/", **rule)
    assert listed(fake) == digests(1)


def test_pages(fake: FakeRegistry) -> None:
    fake.referrers_api, fake.page_size = True, 2
    put(fake, 1, 2, 3, 4, 5)
    assert listed(fake) == digests(1, 2, 3, 4, 5)
    assert len(fake.asked("GET", "/referrers/")) == 3


def test_a_registry_that_does_not_enter_it_gets_the_tag(fake: FakeRegistry) -> None:
    fake.referrers_api = True
    fake.fault(method="PUT", headers={"oci-subject": str(Digest.of(b"other"))}, times=1)
    put(fake, 1)
    assert ("acme/api", TAG) in fake.manifests


def test_entries_of_others_are_kept(fake: FakeRegistry) -> None:
    fake.manifests["acme/api", TAG] = (OCI_INDEX, index_of([entry(8), entry(9)]))
    put(fake, 1)
    assert listed(fake) == digests(8, 9, 1)


LISTS = [
    (b"", "not JSON"),
    (b"[]", "JSON"),
    (b'{"schemaVersion":2}', "neither"),
    (b'{"schemaVersion":2,"manifests":{}}', "manifests"),
    (b'{"schemaVersion":2,"manifests":[{"digest":"sha256:x"}]}', "manifests"),
    (b'{"schemaVersion":2,"manifests":[],"manifests":[]}', "duplicate"),
    (b'{"schemaVersion":2,"config":{},"layers":[],"manifests":[]}', "neither"),
    (index_of([entry(1) | {"size": -1}]), "negative"),
    (index_of([entry(1) | {"urls": ["https://x/"]}]), "kept elsewhere"),
    (b" " * ((4 << 20) + 1), "at most 4,194,304 bytes"),
]


@pytest.mark.parametrize(("raw", "text"), LISTS)
def test_a_list_that_is_none(either: FakeRegistry, raw: bytes, text: str) -> None:
    if either.referrers_api:
        either.fault(path="/referrers/", body=raw)
    else:
        either.manifests["acme/api", TAG] = (OCI_INDEX, raw)
    with pytest.raises(EndpointError, match=text):
        listed(either)


def test_a_tag_that_means_the_image_itself_lists_nothing(fake: FakeRegistry) -> None:
    fake.manifests["acme/api", TAG] = (OCI_MANIFEST, IMAGE.raw)
    assert listed(fake) == []
    put(fake, 1)
    assert listed(fake) == digests(1)


def test_a_list_that_breaks_off(fake: FakeRegistry) -> None:
    fake.referrers_api, fake.page_size = True, 1
    put(fake, 1, 2)
    fake.fault(path="last=1", status=404)
    with pytest.raises(EndpointError, match="is incomplete"):
        listed(fake)


def test_a_broken_tag_is_not_written_over(fake: FakeRegistry) -> None:
    fake.manifests["acme/api", TAG] = (OCI_INDEX, b'{"schemaVersion":2,"manifests":{}}')
    with pytest.raises(EndpointError, match="not a list of referrers"):
        put(fake, 1)
    assert fake.manifests["acme/api", TAG][1] == b'{"schemaVersion":2,"manifests":{}}'


def test_too_many(either: FakeRegistry) -> None:
    raw = index_of([entry(1) | {"digest": str(Digest.of(str(n).encode()))} for n in range(1001)])
    if either.referrers_api:
        either.fault(path="/referrers/", body=raw)
    else:
        either.manifests["acme/api", TAG] = (OCI_INDEX, raw)
    with pytest.raises(EndpointError, match="want at most 1,000, got 1,001"):
        listed(either)


LINKS = [
    ('<?last=1>; rel="next"', EndpointError, "too many pages"),
    ('<http://127.0.0.1:9/x>; rel="next"', EndpointError, "an internal address"),
    ('<https://registry.example/x>; rel="next"', EndpointError, "on another host"),
    ('<ftp://127.0.0.1/x>; rel="next"', EndpointError, "usable address"),
]


@pytest.mark.parametrize(("link", "error", "text"), LINKS)
def test_pages_that_lead_nowhere(
    fake: FakeRegistry, link: str, error: type[AirgapError], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("airgap.endpoints.registry.referrers.MAX_LIST_PAGES", 5)
    fake.referrers_api = True
    fake.fault(path="/referrers/", headers={"link": link})
    with pytest.raises(error, match=text):
        listed(fake)
    assert len(fake.requests) <= 5


@pytest.mark.parametrize("link", ["", "</x>", '</x>; rel="prev"', "rel=next", "<>; rel=next", "<" * 9000])
def test_links_that_are_none(fake: FakeRegistry, link: str) -> None:
    fake.referrers_api = True
    fake.fault(path="/referrers/", headers={"link": link or None})
    assert listed(fake) == []


def test_trouble_is_not_taken_for_absence(either: FakeRegistry) -> None:
    either.fault(method="GET", path="referrers" if either.referrers_api else "manifests", status=503)
    with pytest.raises(UnavailableError):
        listed(either)


def test_tags_of_all_pages_are_listed(fake: FakeRegistry) -> None:
    fake.add("acme/api", "2.0", IMAGE)
    fake.page_size = 1
    assert client(fake).tags(named(fake)) == ["1.0", "2.0"]


@pytest.mark.parametrize(("body", "found"), [(b'{"tags":null}', []), (b"{}", []), (b'{"tags":["a"]}', ["a"])])
def test_tags_as_they_are_said(fake: FakeRegistry, body: bytes, found: list[str]) -> None:
    fake.fault(body=body)
    assert client(fake).tags(named(fake)) == found


@pytest.mark.parametrize("body", [b"", b"[]", b'{"tags":"a"}', b'{"tags":[1]}', b'{"tags":[],"tags":[]}'])
def test_no_tags(fake: FakeRegistry, body: bytes) -> None:
    fake.fault(body=body)
    with pytest.raises(EndpointError, match="not a list of tags"):
        client(fake).tags(named(fake))


def test_too_many_tags(fake: FakeRegistry) -> None:
    fake.fault(body=json.dumps({"tags": ["a"] * 100_001}).encode())
    with pytest.raises(EndpointError, match="at most 100,000"):
        client(fake).tags(named(fake))
