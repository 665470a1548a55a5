"""Registries that images are loaded into: what they refuse, and in which words."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from airgap.audit.receipt import Receipt
from airgap.endpoints.logins import Credentials
from airgap.errors import EndpointError
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_CONFIG, OCI_MANIFEST, Descriptor
from airgap.oci.platform import Platform
from airgap.offline.load_bundle import load_bundle
from airgap.offline.loader import FAILED, LOADED, THERE, ConflictRule
from airgap.progress import Silent
from airgap.trust.envelope import Envelope
from tests.support import habits
from tests.support.bundles import Gap, make_gap
from tests.support.images import Image, make_index, simple_image
from tests.support.registry import FakeRegistry
from tests.unit.endpoints.registry_support import Logins, client
from tests.world.pushes import APP, go, tagged, two_images, verdicts
from tests.world.table import Kind, Row, replays, row

MULTI = "registry.test/acme/multi:1"
ARCHITECTURES = [simple_image(name, platform=f"linux/{name}") for name in ("amd64", "arm64", "s390x")]
WHOLE = make_index(ARCHITECTURES)
ALL = "platforms: [linux/amd64, linux/arm64, linux/s390x]\n"

Arrange = Callable[[FakeRegistry], None]


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


def sparse(folder: Path, *architectures: str) -> Gap:
    """A bundle of the image of three platforms, with some of them."""
    platforms = ", ".join(f"linux/{name}" for name in architectures)
    return make_gap(folder, images={MULTI: WHOLE}, options=f"platforms: [{platforms}]\n")


# -- an index whose other platforms are absent


def refused(who: str, reported: str, words: str) -> Row:
    does = f"Refuses an index of which it lacks a manifest with {words}"
    return Row(
        Kind.TARGETS, who, does, reported, "gives the name to the platform that is carried, and reports it"
    )


SPARSE: dict[str, tuple[Row, tuple[int, str]]] = {
    "distribution": (
        refused("distribution 2", "containerd/containerd#1772", "400 MANIFEST_BLOB_UNKNOWN"),
        (400, "MANIFEST_BLOB_UNKNOWN"),
    ),
    "gitea": (
        refused("Gitea", "go-gitea/gitea#26839", "404"),
        (404, "MANIFEST_BLOB_UNKNOWN"),
    ),
    "harbor": (refused("Harbor 2", "goharbor/harbor#19977", "404 NOT_FOUND"), (404, "NOT_FOUND")),
    "nexus": (
        refused("Nexus 3", "regclient/regclient#836", "an error that names the manifest"),
        (400, "MANIFEST_INVALID"),
    ),
    "the specification": (
        refused(
            "OCI distribution-spec before 1.1", "opencontainers/distribution-spec#310", "404 BLOB_UNKNOWN"
        ),
        (404, "BLOB_UNKNOWN"),
    ),
}


@replays(SPARSE)
def test_the_only_platform_stands_for_an_index(
    tmp_path: Path, fake: FakeRegistry, case: tuple[int, str]
) -> None:
    stands_for_an_index(tmp_path, fake, case)


@pytest.mark.parametrize("status", [404, 409, 412, 415, 422, 500, 501])
def test_whatever_the_status_is(tmp_path: Path, fake: FakeRegistry, status: int) -> None:
    stands_for_an_index(tmp_path, fake, (status, "UNKNOWN"))


def stands_for_an_index(tmp_path: Path, fake: FakeRegistry, case: tuple[int, str]) -> None:
    habits.wants_whole_indexes(fake, *case)
    gap = sparse(tmp_path, "arm64")
    [first], [again] = go(gap, fake), go(gap, fake)
    arm64 = ARCHITECTURES[1].descriptor.digest
    assert (first.verdict, again.verdict) == (LOADED, THERE)
    assert first.after == again.after == tagged(fake, "acme/multi") == arm64
    assert first.reason == again.reason
    assert "does not accept an index that lacks platforms" in str(first.reason)


@row(
    Kind.TARGETS,
    "Gitea, Harbor, Nexus",
    "Takes an index only with all of its platforms, and has no setting for it",
    "podman-container-tools/skopeo#2882",
    "pushes an index of the platforms that are carried; table, receipt and ledger record that its digest differs",
)
def test_an_index_of_what_is_carried(tmp_path: Path, fake: FakeRegistry) -> None:
    habits.wants_whole_indexes(fake, 404, "MANIFEST_BLOB_UNKNOWN")
    gap = sparse(tmp_path, "amd64", "arm64")
    report = load_bundle(gap.bundle, gap.site, client(fake), gap.now, jobs=2, progress=Silent())
    made = json.loads(fake.manifests["acme/multi", "1"][1])
    assert made == {**json.loads(WHOLE.raw), "manifests": json.loads(WHOLE.raw)["manifests"][:2]}
    [image] = Receipt.parse(Envelope.parse(report.receipt.read_bytes(), "r").payload, "r").images
    effect = json.loads((gap.home / "ledger.jsonl").read_text().splitlines()[-1])["effect"][0]
    assert image.digest == str(WHOLE.descriptor.digest)
    assert image.target_digest == effect["after"] == str(tagged(fake, "acme/multi"))
    assert image.reason == effect["reason"] == report.results[0].reason
    assert "an index made by airgap of linux/amd64, linux/arm64" in str(image.reason)


@row(
    Kind.TARGETS,
    "distribution 3 with `validation.manifests.indexes.platforms: none`",
    "Takes an index of which it lacks manifests",
    "distribution/distribution#3536",
    "pushes the original index, with the same digest",
)
def test_an_index_with_gaps_is_pushed_where_it_is_taken(tmp_path: Path, fake: FakeRegistry) -> None:
    [result] = go(sparse(tmp_path, "amd64", "arm64"), fake)
    assert (result.after, result.reason) == (WHOLE.descriptor.digest, None)


def with_attestation(config_type: str = OCI_CONFIG) -> tuple[Image, Image]:
    """An index as BuildKit writes it, and the attestation in it."""
    image, layer, config = simple_image("app"), b'{"predicateType":"x"}', b"{}"
    manifest = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": Descriptor(config_type, Digest.of(config), len(config)).to_json(),
        "layers": [Descriptor("application/vnd.in-toto+json", Digest.of(layer), len(layer)).to_json()],
    }
    raw = json.dumps(manifest).encode()
    about = {"vnd.docker.reference.digest": str(image.descriptor.digest)}
    unknown = Platform("unknown", "unknown")
    descriptor = Descriptor(OCI_MANIFEST, Digest.of(raw), len(raw), platform=unknown, annotations=about)
    note = Image(descriptor, raw, {Digest.of(each): each for each in (raw, layer, config)})
    return make_index([image, simple_image("arm", platform="linux/arm64"), note]), note


@row(
    Kind.TARGETS,
    "GitLab, Quay",
    "Refuses manifests with config or layer types that it does not know, as BuildKit's attestations have",
    "moby/buildkit#3610",
    "pushes the image without its attestations, and reports it",
)
def test_attestations_that_are_refused(tmp_path: Path, fake: FakeRegistry) -> None:
    index, note = with_attestation()
    habits.refuses_documents(fake, b"in-toto", 400, "MANIFEST_INVALID", "unknown media type")
    [result] = go(
        make_gap(tmp_path, images={MULTI: index}, options="platforms: [linux/amd64, linux/arm64]\n"), fake
    )
    entries = json.loads(fake.manifests["acme/multi", "1"][1])["manifests"]
    assert result.verdict == LOADED
    assert "does not accept attestations" in str(result.reason)
    assert str(note.descriptor.digest) not in [entry["digest"] for entry in entries]
    assert len(entries) == 2


# -- questions before the push


DENIED: dict[str, tuple[Row, Arrange]] = {
    "403 for a new tag": (
        Row(
            Kind.TARGETS,
            "Artifactory, virtual repositories",
            "Answers the HEAD of a tag that does not exist with 403",
            "google/go-containerregistry#1691",
            "pushes nevertheless",
        ),
        lambda fake: habits.hides_what_is_absent(fake, 403),
    ),
    "403 for each HEAD": (
        Row(
            Kind.TARGETS,
            "registry.centos.org",
            "Answers each HEAD of a manifest with 403",
            "containerd/containerd#6684",
            "pushes, and reports that it could not check the result",
        ),
        lambda fake: fake.fault(method="HEAD", path="/manifests/", status=403) and None,
    ),
    "405 for HEAD": (
        Row(
            Kind.TARGETS,
            "Registries behind a proxy without HEAD",
            "Answers HEAD of blobs and manifests with 405",
            "jdx/mise#11132",
            "asks with GET for manifests, and sends the blobs",
        ),
        lambda fake: fake.fault(method="HEAD", status=405) and None,
    ),
}


@replays(DENIED)
def test_a_question_that_is_denied_stops_no_push(tmp_path: Path, fake: FakeRegistry, case: Arrange) -> None:
    case(fake)
    results = go(two_images(tmp_path), fake)
    assert verdicts(results) == [LOADED, LOADED]
    assert [result.after for result in results] == [tagged(fake, "acme/app"), tagged(fake, "acme/web")]


@pytest.mark.parametrize(("path", "status"), [("/blobs/", 401), ("/blobs/", 403), ("/manifests/", 401)])
def test_other_questions_that_are_denied(tmp_path: Path, fake: FakeRegistry, path: str, status: int) -> None:
    fake.fault(method="HEAD", path=path, status=status)
    assert verdicts(go(two_images(tmp_path), fake)) == [LOADED, LOADED]


def test_a_name_that_cannot_be_looked_at_is_not_replaced_against_the_order(
    tmp_path: Path, fake: FakeRegistry
) -> None:
    fake.fault(method="HEAD", path="/manifests/", status=403)
    with pytest.raises(EndpointError, match="access denied"):
        go(two_images(tmp_path), fake, on_conflict=ConflictRule.REFUSE)
    assert fake.manifests == {}


def test_a_wrong_login_is_tried_once(tmp_path: Path, fake: FakeRegistry) -> None:
    """Accounts are locked after a few wrong ones."""
    fake.require_bearer({"alice": "secret"})
    with pytest.raises(EndpointError, match="token service"):
        go(two_images(tmp_path), fake, credentials=Logins(Credentials("alice", "wrong")))
    assert len(fake.asked("GET", "/token")) == 1


# -- tags that stay


@dataclass(frozen=True)
class Lock:
    """How a registry refuses to move a tag."""

    status: int
    code: str
    message: str


def locked(who: str, reported: str, words: str) -> Row:
    does = f"Refuses to give a tag that is taken to another image, with {words}"
    return Row(Kind.TARGETS, who, does, reported, "fails only for this image, by name, with the workaround")


LOCKED: dict[str, tuple[Row, Lock]] = {
    "ecr": (
        locked("Amazon ECR", "docker/build-push-action#1042", "400 TAG_INVALID"),
        Lock(400, "TAG_INVALID", "The image tag '1' already exists and cannot be overwritten"),
    ),
    "harbor": (
        locked("Harbor", "goharbor/harbor#17332", "412 PRECONDITION"),
        Lock(412, "PRECONDITION", "'app:1' configured as immutable"),
    ),
    "harbor before": (
        locked("Harbor 1.10", "goharbor/harbor#9427", "403 DENIED"),
        Lock(403, "DENIED", "The tag is immutable, cannot be overwrite"),
    ),
    "artifactory": (
        locked("Artifactory", "GoogleContainerTools/kaniko#1095", "403 and MANIFEST_INVALID"),
        Lock(403, "MANIFEST_INVALID", "manifest invalid"),
    ),
    "conflict": (
        locked("Distr", "distr-sh/distr#1274", "409 in the place of 500"),
        Lock(409, "CONFLICT", "an image for this tag exists"),
    ),
    "docker hub": (
        locked("Docker Hub, immutable tags", "docker/hub-feedback#2466", "403"),
        Lock(403, "DENIED", "requested access to the resource is denied"),
    ),
    "nexus": (
        locked('Nexus 3, "Disable redeploy"', "GoogleContainerTools/jib#2395", "400 BLOB_UPLOAD_INVALID"),
        Lock(400, "BLOB_UPLOAD_INVALID", "Repository does not allow updating assets"),
    ),
}


@replays(LOCKED)
def test_a_tag_that_may_not_move_fails_alone(tmp_path: Path, fake: FakeRegistry, case: Lock) -> None:
    fails_alone(tmp_path, fake, case)


def test_a_locked_image_fails_alone(tmp_path: Path, fake: FakeRegistry) -> None:
    fails_alone(tmp_path, fake, Lock(405, "UNSUPPORTED", "The operation is disallowed on this image"))


def fails_alone(tmp_path: Path, fake: FakeRegistry, case: Lock) -> None:
    old = simple_image("old")
    fake.add("acme/app", "1", old)
    habits.keeps_tags(fake, case.status, case.code, case.message)
    app, web = go(two_images(tmp_path), fake)
    assert (app.verdict, web.verdict) == (FAILED, LOADED)
    assert app.after == tagged(fake, "acme/app") == old.descriptor.digest
    assert app.error is not None
    assert f"{APP}, want" in str(app.error)
    assert f"HTTP {case.status}" in str(app.error)
    assert "does not allow this name to be moved to another image" in str(app.error)
    assert "--map" in str(app.error.hint)


@row(
    Kind.TARGETS,
    "Amazon ECR, immutable tags",
    "Refuses a tag also when it has the very same digest already",
    "aws/containers-roadmap#2380",
    "writes no content: the image is already there",
)
def test_a_tag_that_is_right_is_not_written(tmp_path: Path, fake: FakeRegistry) -> None:
    gap = two_images(tmp_path)
    go(gap, fake)
    habits.keeps_tags(fake, 400, "TAG_INVALID", "already exists", also_the_same=True)
    before = len(fake.asked("PUT"))
    assert verdicts(go(gap, fake)) == [THERE, THERE]
    assert len(fake.asked("PUT")) == before


@row(
    Kind.TARGETS,
    'Nexus 3, "Disable redeploy"',
    "Takes the same manifest once: a new tag is refused when the digest was pushed before",
    "GoogleContainerTools/jib#3057",
    "pushes the top document once, with its tag",
)
def test_a_document_is_written_once(tmp_path: Path, fake: FakeRegistry) -> None:
    habits.writes_once(fake)
    gap = make_gap(tmp_path, images={APP: simple_image("app"), MULTI: WHOLE}, options="platforms: all\n")
    assert verdicts(go(gap, fake)) == [LOADED, LOADED]


def test_platforms_already_present_are_not_a_failure(tmp_path: Path, fake: FakeRegistry) -> None:
    """The first load was cut off after them; Nexus does not take them again."""
    fake.add("acme/multi", None, ARCHITECTURES[0])
    habits.writes_once(fake)
    gap = make_gap(tmp_path, images={MULTI: WHOLE}, options=ALL)
    assert verdicts(go(gap, fake)) == [LOADED]


@row(
    Kind.TARGETS,
    'Nexus 3, "Disable redeploy"',
    "Refuses a blob that another push has stored meanwhile with 400 `cannot be updated`",
    "sonatype/nexus-public#967",
    "checks whether the blob is there, and continues",
)
def test_a_blob_that_somebody_else_was_faster_with(tmp_path: Path, fake: FakeRegistry) -> None:
    body = json.dumps({"errors": [{"code": "BLOB_UPLOAD_INVALID", "detail": "cannot be updated"}]}).encode()
    fake.fault(method="PUT", path="/blobs/uploads/", times=1, status=400, body=body)
    assert verdicts(go(two_images(tmp_path), fake, retries=0)) == [LOADED, LOADED]
