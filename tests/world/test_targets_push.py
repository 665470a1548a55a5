"""Registries that images are loaded into: places and kinds that they do not take, uploads and mounts."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from airgap.errors import AirgapError
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_CONFIG, OCI_MANIFEST, Descriptor
from airgap.offline.loader import FAILED, LOADED, SKIPPED
from tests.support import certificates, habits
from tests.support.bundles import make_gap
from tests.support.images import Image, simple_image
from tests.support.registry import FakeRegistry
from tests.support.registry_parts import Answer, error
from tests.world.pushes import APP, WEB, go, two_images, verdicts
from tests.world.table import Kind, Row, replays, row


@pytest.fixture
def fake() -> Iterator[FakeRegistry]:
    with FakeRegistry() as registry:
        yield registry


# -- places that do not exist, and kinds that are not taken


@dataclass(frozen=True)
class Refusal:
    """An answer to the start of an upload, and the advice that fits."""

    answer: Answer
    hint: str


def elsewhere(who: str, does: str, reported: str, answer: str) -> Row:
    return Row(Kind.TARGETS, who, does, reported, answer)


PLACES: dict[str, tuple[Row, Refusal]] = {
    "ecr": (
        elsewhere(
            "Amazon ECR",
            "Creates no repository on push: 404 NAME_UNKNOWN",
            "plexsystems/sinker#55",
            "the hint says to create the repository; other images are loaded",
        ),
        Refusal(
            error(404, "NAME_UNKNOWN", "The repository does not exist in the registry"),
            "create the repository",
        ),
    ),
    "harbor": (
        elsewhere(
            "Harbor",
            "Creates no project on push: 401 `project not found`",
            "goharbor/harbor#17097",
            "the hint says to create the project",
        ),
        Refusal(error(401, "UNAUTHORIZED", "project acme not found"), "create the project"),
    ),
    "harbor before": (
        elsewhere(
            "Harbor",
            "Answers 401 `authentication required` for a project that does not exist",
            "goharbor/harbor#890",
            "the hint names the login and the project",
        ),
        Refusal(error(401, "UNAUTHORIZED", "authentication required"), "project or namespace does not exist"),
    ),
    "docker hub": (
        elsewhere(
            "Docker Hub",
            "Denies names with more than two parts: `requested access to the resource is denied`",
            "moby/moby#31760",
            "the hint names --map",
        ),
        Refusal(error(403, "DENIED", "requested access to the resource is denied"), "--map FROM=TO"),
    ),
    "trow": (
        elsewhere(
            "Trow",
            "Answers names of four parts with 404 and no reason",
            "Trow-Registry/trow#86",
            "the hint names --map",
        ),
        Refusal(Answer(404), "--map FROM=TO"),
    ),
    "too large": (
        elsewhere(
            "nginx before a registry",
            "Answers 413 for a body over its limit",
            "goharbor/harbor#3270",
            "the hint names the limit of the proxy",
        ),
        Refusal(Answer(413, b"<html>"), "client_max_body_size"),
    ),
    "read-only": (
        elsewhere(
            "distribution in read-only maintenance",
            "Answers writes with 405 UNSUPPORTED",
            "distribution/distribution#4670",
            "the hint says that the registry may be read-only",
        ),
        Refusal(error(405, "UNSUPPORTED", "The operation is unsupported."), "read-only"),
    ),
}


@replays(PLACES)
def test_a_place_that_does_not_exist(tmp_path: Path, fake: FakeRegistry, case: Refusal) -> None:
    habits.knows_only(fake, ["acme/web"], case.answer)
    app, web = go(two_images(tmp_path), fake)
    assert (app.verdict, web.verdict) == (FAILED, LOADED)
    assert isinstance(app.error, AirgapError)
    assert case.hint in str(app.error.hint)


def signature(subject: Image, *, tag: bool) -> tuple[str, Image]:
    """A signature as cosign 2 (a tag) or cosign 3 (a subject) keeps it."""
    config, layer = b"{}", b"signature"
    manifest: dict[str, object] = {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": Descriptor(OCI_CONFIG, Digest.of(config), len(config)).to_json(),
        "layers": [
            Descriptor("application/vnd.dev.cosign.simplesigning.v1+json", Digest.of(layer), 9).to_json()
        ],
    }
    if not tag:
        manifest["subject"] = subject.descriptor.to_json()
    raw = json.dumps(manifest).encode()
    found = Image(Descriptor(OCI_MANIFEST, Digest.of(raw), len(raw)), raw)
    found.contents = {Digest.of(each): each for each in (raw, layer, config)}
    name = f"registry.test/acme/app:sha256-{subject.descriptor.digest.hex}.sig"
    return (name if tag else "registry.test/acme/app:a-signature"), found


KINDS: dict[str, tuple[Row, tuple[int, str]]] = {
    "quay": (
        elsewhere(
            "Quay before 3.6",
            "Refuses signatures and attestations with 400 MANIFEST_INVALID",
            "tektoncd/chains#252",
            "the signature fails alone; the image is loaded",
        ),
        (400, "MANIFEST_INVALID"),
    ),
    "oras": (
        elsewhere(
            "Quay.io",
            "Takes no artifacts of unknown media types",
            "oras-project/oras#738",
            "the artifact fails alone; the image is loaded",
        ),
        (415, "MANIFEST_INVALID"),
    ),
    "docker hub": (
        elsewhere(
            "Docker Hub in 2023",
            "Answers a manifest with `subject` with 404",
            "docker/hub-feedback#2307",
            "the referrer fails alone; the image is loaded",
        ),
        (404, "UNKNOWN"),
    ),
}


@replays(KINDS)
def test_what_a_registry_does_not_take_fails_alone(
    tmp_path: Path, fake: FakeRegistry, case: tuple[int, str]
) -> None:
    app = simple_image("app")
    name, note = signature(app, tag=True)
    habits.refuses_documents(fake, b"simplesigning", *case, "invalid")
    results = go(make_gap(tmp_path, images={APP: app, name: note}), fake)
    assert {str(result.image.name): str(result.verdict) for result in results} == {APP: LOADED, name: FAILED}
    assert SKIPPED not in verdicts(results)
    assert f"the registry refuses this {OCI_MANIFEST}" in str(results[-1].error)


@row(
    Kind.TARGETS,
    "zot in 2023, and registries with strong references",
    "Refuses a document whose subject is absent (zot answered 500)",
    "project-zot/zot#1424",
    "pushes the referrers of an image after it",
)
@pytest.mark.parametrize("status", [500, 404])
def test_what_refers_to_an_image_comes_after_it(tmp_path: Path, fake: FakeRegistry, status: int) -> None:
    app = simple_image("app", size=10)
    name, note = signature(app, tag=False)
    large = b"x" * 100_000  # blobs of this size go first
    value = json.loads(note.raw)
    value["layers"] = [Descriptor("application/vnd.example.sbom", Digest.of(large), len(large)).to_json()]
    raw = json.dumps(value).encode()
    sbom = Image(Descriptor(OCI_MANIFEST, Digest.of(raw), len(raw)), raw)
    sbom.contents = {Digest.of(each): each for each in (raw, large, b"{}")}
    habits.wants_subjects_first(fake, status)
    results = go(make_gap(tmp_path, images={APP: app, name: sbom}), fake)
    assert verdicts(results) == [LOADED] * 3  # under its own name, and in the repository of its subject
    assert SKIPPED not in verdicts(results)


# -- uploads


@row(
    Kind.TARGETS,
    "distribution behind a proxy that ends TLS",
    "Names its own host with http:// in Location",
    "distribution/distribution#479",
    "keeps to the https origin in use",
)
@row(
    Kind.TARGETS,
    "distribution behind nginx on another port than 443",
    "Leaves the port out of Location",
    "distribution/distribution#2862",
    "keeps to the origin in use",
)
@pytest.mark.parametrize("form", ["http://127.0.0.1/v2/{path}", "https://127.0.0.1/v2/{path}"])
def test_a_location_that_forgets_the_proxy(tmp_path: Path, form: str) -> None:
    pair = certificates.self_signed(tmp_path)
    gap = two_images(tmp_path)
    with FakeRegistry(tls=pair) as fake:
        answer = fake.answer

        def forgetful(request: object) -> Answer:
            found = answer(request)  # type: ignore[arg-type]
            location = found.headers.get("location", "")
            if location.startswith("/v2/"):
                found.headers["location"] = form.format(path=location.removeprefix("/v2/"))
            return found

        fake.answer = forgetful  # type: ignore[method-assign]
        assert verdicts(go(gap, fake, ca_file=pair[0])) == [LOADED, LOADED]


MOUNTS: dict[str, tuple[Row, Answer]] = {
    "harbor": (
        elsewhere(
            "Harbor 2.5",
            "Answers a mount it cannot make with 401 in the place of 202",
            "goharbor/harbor#17097",
            "uploads the blob",
        ),
        error(401, "UNAUTHORIZED", "project examplegroup not found"),
    ),
    "403": (
        elsewhere(
            "Registries with rights by repository",
            "Answers a mount from a repository that is not ours to read with 403",
            "containerd/containerd#14086",
            "uploads the blob",
        ),
        error(403, "DENIED", "no pull access"),
    ),
    "gitlab": (
        elsewhere(
            "GitLab in 2017",
            "Its token for a mount holds only one of the two scopes: 401 insufficient scope",
            "estesp/manifest-tool#53",
            "uploads the blob",
        ),
        error(401, "UNAUTHORIZED", "insufficient scope"),
    ),
    "202": (
        elsewhere(
            "OCI distribution-spec",
            "Begins an upload (202) if it does not mount the blob",
            "opencontainers/distribution-spec#206",
            "continues with that upload",
        ),
        Answer(0),
    ),
}


@replays(MOUNTS)
def test_a_mount_that_is_refused(tmp_path: Path, fake: FakeRegistry, case: Answer) -> None:
    shared = simple_image("shared")
    fake.uploads.mounts = False
    if case.status:
        fake.habits.append(lambda request: case if "mount=" in request.path else None)
    gap = make_gap(tmp_path, images={APP: shared, WEB: shared})
    assert verdicts(go(gap, fake)) == [LOADED, LOADED]
    assert len(fake.asked("POST", "mount=")) >= 1
