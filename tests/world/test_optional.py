"""What registries answer to questions about attachments: the image is carried, whatever it is."""

import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from airgap.errors import EndpointError
from airgap.oci.documents import DOCKER_INDEX, DOCKER_MANIFEST, OCI_INDEX, OCI_MANIFEST
from airgap.oci.referrers import fallback_tag
from tests.support.attachments import Way, attach, index_with, referrer
from tests.support.images import make_index, simple_image
from tests.support.registry import FakeRegistry
from tests.support.registry_parts import index_of
from tests.world.table import Kind, Row, replays

ONE = simple_image("one")
AMD, ARM = simple_image("amd"), simple_image("arm", platform="linux/arm64")
TWO = make_index([AMD, ARM])
DOCKER_ONE = simple_image("docker", docker=True)
DOCKER_TWO = make_index([DOCKER_ONE, simple_image("arm", platform="linux/arm64", docker=True)], docker=True)
ATTESTATION = simple_image("provenance")


ATTESTED_IMAGE = index_with([(AMD, ATTESTATION)])
PAGE = {"status": 200, "body": b"<!doctype html>", "headers": {"content-type": "text/html"}}

Arrange = Callable[[FakeRegistry], object]


@dataclass(frozen=True)
class Habit:
    """How a registry that holds `image` as api:1 is arranged, and what is then known of attachments."""

    arrange: Arrange
    unknown: str | None = None
    """In the reason why they are unknown; None when they are known."""
    attached: int = 0
    """How many are carried."""
    image: Any = field(default_factory=lambda: ONE)


def refuse(path: str, status: int, **rule: Any) -> Arrange:
    return lambda fake: fake.fault(path=path, status=status, **rule)


def all_of(*steps: Arrange) -> Arrange:
    return lambda fake: [step(fake) for step in steps]


def without_list(*steps: Arrange) -> Arrange:
    """The list of tags is not to be had: each tag is asked for."""
    return all_of(refuse("/tags/list", 401), *steps)


def has(how: str, image: Any = ONE) -> Arrange:
    return lambda fake: attach(fake, "api", image, how)


def with_api(fake: FakeRegistry) -> None:
    fake.referrers_api = True


def tag_means_the_image(image: Any, media_type: str) -> Arrange:
    def arrange(fake: FakeRegistry) -> None:
        fake.manifests["api", fallback_tag(image.descriptor.digest)] = (media_type, image.raw)

    return arrange


def redirect(path: str, location: str, status: int = 302) -> Arrange:
    return lambda fake: fake.fault(path=path, status=status, headers={"location": f"{fake.url}{location}"})


def login_page(fake: FakeRegistry) -> None:
    fake.fault(path="/signin", **PAGE)
    redirect("/referrers/", "/signin")(fake)


def github_page(fake: FakeRegistry) -> None:
    redirect("/referrers/", "/packages", 303)(fake)


def cut_list(fake: FakeRegistry) -> None:
    for number in range(99):
        fake.add("api", f"0.{number}", ONE)
    has("sig")(fake)
    fake.fault(
        path="/tags/list", body=b'{"tags":[%s]}' % b",".join(b'"%d"' % n for n in [1, *range(100, 199)])
    )


def answer(fake_body: bytes, media_type: str) -> Arrange:
    return lambda fake: fake.fault(
        path="/referrers/", body=fake_body, status=200, headers={"content-type": media_type}
    )


def row(who: str, does: str, reported: str, answer: str) -> Row:
    return Row(Kind.OPTIONAL, who, does, reported, answer)


NONE = "Carries the image, which has no attachments"
FINDS = "Carries the image and its attachments"
UNKNOWN = "Carries the image; lock, plan and pack report that its attachments are unknown, and why"
SOME = "Carries the image and the attachments found; reports that there may be more, and why"

ANSWERS: dict[str, tuple[Row, Habit]] = {
    "gitlab, manifest": (
        row("GitLab container registry", "Takes the fallback tag sha256-HEX for the digest, and answers with the "
            "image's own manifest", "oras-project/oras-go#1396", NONE),
        Habit(tag_means_the_image(ONE, OCI_MANIFEST)),
    ),
    "gitlab, docker manifest": (
        row("GitLab container registry", "Answers the fallback tag with the image's own manifest in Docker's media type",
            "oras-project/oras-go#1396", NONE),
        Habit(without_list(tag_means_the_image(DOCKER_ONE, DOCKER_MANIFEST)), image=DOCKER_ONE),
    ),
    "gitlab, index": (
        row("GitLab container registry", "Answers the fallback tag of a multi-platform image with its own index, whose "
            "entries look like referrers", "oras-project/oras-go#1396", NONE),
        Habit(tag_means_the_image(TWO, OCI_INDEX), image=TWO),
    ),
    "gitlab, docker list": (
        row("GitLab container registry", "Answers the fallback tag of a multi-platform image with its own Docker list",
            "oras-project/oras-go#1396", NONE),
        Habit(without_list(tag_means_the_image(DOCKER_TWO, DOCKER_INDEX)), image=DOCKER_TWO),
    ),
    "harbor 2.7": (
        row("Harbor < 2.8", "Answers the referrers API with 401 and no WWW-Authenticate", "goharbor/harbor#18305", SOME),
        Habit(all_of(refuse("/referrers/", 401), has("sig")), "referrers API: access denied, got HTTP 401", 1),
    ),
    "artifactory 406": (
        row("Artifactory", "Answers the referrers API with 406", "google/go-containerregistry#2026", SOME),
        Habit(all_of(refuse("/referrers/", 406), has("tag")), "got HTTP 406", 1),
    ),
    "artifactory 403": (
        row("Artifactory, remote repositories", "Answers a .sig tag that does not exist with 403 in place of 404",
            "sigstore/cosign#2973", UNKNOWN),
        Habit(without_list(refuse(r"/manifests/sha256-.*\.(sig|att|sbom)", 403)), "tags: access denied, got HTTP 403"),
    ),
    "artifactory tags 406": (
        row("Artifactory, old", "Answers the list of tags with 406", "deitch/docker_registry2#40", FINDS),
        Habit(all_of(refuse("/tags/list", 406), has("sig")), None, 1),
    ),
    "gar": (
        row("Google Artifact Registry", "Redirects the referrers API to a sign-in page, HTML with status 200",
            "awslabs/soci-snapshotter#512", FINDS),
        Habit(all_of(login_page, has("tag")), None, 1),
    ),
    "ghcr": (
        row("GHCR", "Redirects the referrers API with 303 to a page on another host, which is 404", "project-zot/zot#4060",
            FINDS),
        Habit(all_of(github_page, has("sig")), None, 1),
    ),
    "false 200": (
        row("Some registries", "Answer /referrers with 200 although they have no such API", "sigstore/sigstore-js#1187",
            FINDS),
        Habit(all_of(answer(b"{}", "application/json"), has("tag")), None, 1),
    ),
    "no type": (
        row("Some registries", "Answer /referrers with 200 and an index that is not called one", "oras-project/oras-go#635",
            FINDS),
        Habit(all_of(answer(index_of([]), "text/plain; charset=utf-8"), has("tag")), None, 1),
    ),
    "quay 400": (
        row("Quay", "Answers the referrers API with 400 for a manifest that it cannot read", "quay/quay#3071", SOME),
        Habit(all_of(refuse("/referrers/", 400), has("sig")), "referrers API: unexpected answer, got HTTP 400", 1),
    ),
    "docker hub": (
        row("Docker Hub", "Has no referrers API: 404, and referrers under fallback tags", "docker/roadmap#724", FINDS),
        Habit(has("tag"), None, 1),
    ),
    "docker hub, cosign 2": (
        row("Docker Hub", "Keeps signatures of cosign 2 under .sig tags, which cosign 3 no longer looks for",
            "cowrie/cowrie#2853", FINDS),
        Habit(all_of(has("sig"), has("tag")), None, 2),
    ),
    "ecr": (
        row("Amazon ECR, before OCI 1.1", "Answers the referrers API with 404", "notaryproject/ratify#231", FINDS),
        Habit(has("sig"), None, 1),
    ),
    "docker-registry": (
        row("distribution (docker-registry)", "Has no referrers API, and no fallback tag before something is attached",
            "oras-project/rust-oci-client#259", NONE),
        Habit(lambda fake: None),
    ),
    "docker-registry, without a list": (
        row("distribution (docker-registry)", "Answers 404 to the fallback tag, which clients took for a failure",
            "google/go-containerregistry#1647", NONE),
        Habit(without_list()),
    ),
    "both": (
        row("Harbor 2.8 and later", "Does not enter into its referrers API what older clients put under fallback tags",
            "goharbor/harbor#18305", FINDS),
        Habit(all_of(with_api, has("tag")), None, 1),
    ),
    "red hat": (
        row("registry.redhat.io", "Answers a missing .sig tag with 404 and a body that is not an error document",
            "containers/image#1683", NONE),
        Habit(without_list(refuse("/manifests/sha256-", 404, body=b"<html>not found</html>"))),
    ),
    "pulp": (
        row("Pulp", "Answers an unexpected query of the list of tags with 500 and HTML", "pulp/pulp_container#220", FINDS),
        Habit(all_of(refuse("/tags/list", 500, body=b"<h1>Server Error (500)</h1>"), has("sig")), None, 1),
    ),
    "harbor proxy": (
        row("Harbor 2.2, proxy project", "Lists only the tags that were pulled through it", "goharbor/harbor#15513",
            "Asks for each tag where the list does not have even the image's own"),
        Habit(all_of(has("sig"), lambda fake: fake.fault(path="/tags/list", body=b'{"tags":["0.9"]}')), None, 1),
    ),
    "distribution 2.5": (
        row("distribution 2.5", "Ignores n in the list of tags, and sends all of them without a Link header",
            "distribution/distribution#1936", FINDS),
        Habit(all_of(*(lambda fake, n=n: fake.add("api", f"0.{n}", ONE) for n in range(120)), has("sig")), None, 1),
    ),
    "cut list": (
        row("Registries before distribution-spec 1.1", "May send a part of the tags, without a Link header",
            "opencontainers/distribution-spec#107", "Asks for each tag where a list of a round number may be cut"),
        Habit(cut_list, None, 1),
    ),
    "quay pages": (
        row("Quay", "Sends the list of tags in pages of 50 or 100, linked by opaque tokens",
            "TritonDataCenter/node-docker-registry-client#12", "Asks for each tag if the pages would be more requests"),
        Habit(all_of(*(lambda fake, n=n: fake.add("api", f"0.{n}", ONE) for n in range(120)), has("sig"),
                     lambda fake: setattr(fake, "page_size", 50)), None, 1),
    ),
    "bad fallback": (
        row("cosign 2 and go-containerregistry", "Push fallback indexes whose entries lack artifactType and annotations",
            "sigstore/cosign#4641", FINDS),
        Habit(lambda fake: (
            attach(fake, "api", ONE, "tag"),
            fake.manifests.__setitem__(("api", fallback_tag(ONE.descriptor.digest)),
                                       (OCI_INDEX, index_of([referrer(ONE, "thing").descriptor.to_json()]))),
        ), None, 1),
    ),
    "502": (
        row("quay.io", "Answers 502 now and then, for minutes", "containers/common#2299", SOME),
        Habit(all_of(refuse("/referrers/", 502), has("sig")), "referrers API: unavailable, got HTTP 502", 1),
    ),
    "502 once": (
        row("quay.io", "Answers 502 once, and the same question the next time", "podman-container-tools/skopeo#2841",
            "Asks again, and carries the image and what is attached to it"),
        Habit(all_of(with_api, has("api"), refuse("/referrers/", 502, times=1)), None, 1),
    ),
    "pages": (
        row("Registries that page referrers (GHCR's attestations)", "Send the referrers in pages, linked by Link headers",
            "google/go-containerregistry#2446", FINDS),
        Habit(all_of(with_api, *(lambda fake, n=n: attach(fake, "api", ONE, "api", str(n)) for n in range(5)),
                     lambda fake: setattr(fake, "page_size", 2)), None, 5),
    ),
    "nexus": (
        row("Sonatype Nexus", "Keeps cosign's signatures under tags, and has no referrers API", "sigstore/cosign#341", FINDS),
        Habit(all_of(refuse("/referrers/", 404, body=b"<html>"), has("sig")), None, 1),
    ),
    "buildkit": (
        row("Docker's build provenance", "Is signed at the attestation manifest of an index, not at the image",
            "docker/buildx#4010", FINDS),
        Habit(all_of(with_api, has("api", ATTESTATION)), None, 1, ATTESTED_IMAGE),
    ),
}  # fmt: skip


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


@replays(ANSWERS)
def test_the_image_is_carried(fake: FakeRegistry, case: Habit) -> None:
    _carried(fake, case)


def test_a_registry_that_never_answers_is_not_asked_about_each_platform(fake: FakeRegistry) -> None:
    fake.fault(
        path="/referrers/", status=200, stall_at=0, headers={"content-type": OCI_INDEX, "content-length": "9"}
    )
    _carried(fake, Habit(has("sig", TWO), "referrers API: ", 1, TWO))
    assert len(fake.asked("GET", "/referrers/")) <= 2


def _carried(fake: FakeRegistry, habit: Habit) -> None:
    fake.add("api", "1", habit.image)
    habit.arrange(fake)
    plan = Way(fake).go("api:1", optional_silence=0.3)
    image = plan.images[0]
    assert image.graph.root.digest == habit.image.descriptor.digest
    assert len(plan.images) == 1 + habit.attached
    reason = image.locked.attachments_unknown
    assert (reason is None) is (habit.unknown is None), reason
    assert habit.unknown is None or habit.unknown in (reason or "")
    assert dict(plan.unknown) == ({f"{fake.host}/api:1": reason} if reason else {})


@replays({
    "mirror": (
        row("Build hosts that reach a cache only", "Serve the image from a mirror while the registry itself cannot be "
            "reached", "podman-container-tools/skopeo#1050", UNKNOWN), 0,
    ),
    "mirror with the signature": (
        row("Harbor, proxy project", "Serves the image's signature too, as a mirror of a registry that cannot be reached",
            "sigstore/policy-controller#1830", SOME), 1,
    ),
})  # fmt: skip
def test_a_mirror_is_enough(fake: FakeRegistry, case: int) -> None:
    fake.add("api", "1", ONE)
    if case:
        has("sig")(fake)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        mirror, fake.host = fake.host, f"127.0.0.1:{closed.getsockname()[1]}"
        plan = Way(fake).go("api:1", mirrors=(mirror,))
    assert len(plan.images) == 1 + case
    assert "cannot reach the registry" in (plan.images[0].locked.attachments_unknown or "")


REFUSALS = [name for name, (_, habit) in ANSWERS.items() if habit.unknown]


@pytest.mark.parametrize("name", REFUSALS)
def test_only_a_demand_makes_it_an_error(fake: FakeRegistry, name: str) -> None:
    habit = ANSWERS[name][1]
    fake.add("api", "1", habit.image)
    habit.arrange(fake)
    entry = "{ref: 'HOST/api:1', attachments: required}"
    with pytest.raises(EndpointError, match=r"attachments are unknown: .*/api:1, got "):
        Way(fake).go(entry)
    with pytest.raises(EndpointError, match="attachments are unknown"):
        Way(fake).go("api:1", head="attachments: required\n")
    fake.requests.clear()
    Way(fake).go("api:1", head="attachments: none\n")
    assert not fake.asked("GET", "referrers|tags|sha256-")
    assert not fake.asked("HEAD", "sha256-")


def test_a_key_asks_for_each_tag_that_a_cache_may_not_list(fake: FakeRegistry) -> None:
    fake.add("api", "1", ONE)
    has("sig")(fake)
    fake.fault(path="/tags/list", body=b'{"tags":["1"]}')
    assert len(Way(fake).go("api:1").images) == 1  # a cache that lists the image and not its signature
    assert len(Way(fake).go("{ref: 'HOST/api:1', cosign-key: k.pub}").images) == 2
