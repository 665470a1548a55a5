"""Names in archives and layouts of makers that do not run in the tests, rebuilt from what is known of them."""

from pathlib import Path

import zstandard

from airgap.oci.documents import CONTAINERD_NAME, REF_NAME
from tests.support.forms import (
    APP,
    AS,
    DIGEST,
    MADE,
    MULTI,
    NAME,
    OTHER,
    UNNAMED,
    WEB,
    Case,
    archives,
    attached,
    check,
    docker_files,
    files_of,
    folder_of,
    tarred,
)  # fmt: skip
from tests.support.images import make_index, simple_image
from tests.support.saves import hybrid, item
from tests.world.table import replays

SIGNATURE = attached("signature", APP)
LISTING = make_index([SIGNATURE])
FALLBACK = f"sha256-{DIGEST.hex}"

CASES = {
    "buildkit": (
        archives(
            "BuildKit", "`--output type=oci` without `name=` writes an index without a name", "moby/buildkit#1218",
            "`as:` names it",
        ),
        Case(tarred(files_of([(MULTI, {})])), more=AS, names=MADE),
    ),
    "buildkit without as": (
        archives(
            "skopeo", "writes no name into an OCI layout when it is given none", "podman-container-tools/skopeo#1366",
            "without `as:` it is refused, and reported with its digest",
        ),
        Case(tarred(UNNAMED), refused=f"none of the images has a name.*{DIGEST}.*\n.*as: NAME:TAG"),
    ),
    "two unnamed": (
        archives(
            "skopeo", "several copies into one layout leave several entries without a name", "podman-container-tools/skopeo#1366",
            "all are listed with their digests; `digest:` picks one",
        ),
        Case(folder_of(files_of([(APP, {}), (WEB, {})])), refused=f"{DIGEST}.*{WEB.descriptor.digest}.*\n.*`digest:`"),
    ),
    "picked by digest": (
        archives(
            "OCI image layouts", "one index.json may list many images, each by its digest alone", "opencontainers/image-spec#811",
            "`digest:` and `as:` take one of them",
        ),
        Case(folder_of(files_of([(WEB, {}), (APP, {})])), more=f"digest: '{DIGEST}', {AS}", names=MADE),
    ),
    "buildpacks": (
        archives(
            "buildpacks", "save an image as an OCI layout without ref.name", "buildpacks/imgutil#174",
            "`as:` names the image",
        ),
        Case(folder_of(UNNAMED), more=AS, names=MADE),
    ),
    "two names": (
        archives(
            "containerd", "an image with two names is listed twice in index.json", "opencontainers/image-spec#796",
            "it is carried once, under both",
        ),
        Case(tarred(files_of([(APP, {CONTAINERD_NAME: NAME}), (APP, {CONTAINERD_NAME: OTHER})])), names=(NAME, OTHER)),
    ),
    "free text": (
        archives(
            "OCI image layouts", "any text may stand as ref.name, even `../`", "opencontainers/image-spec#581",
            "an invalid name hides only its own entry",
        ),
        Case(
            tarred(files_of([(APP, {REF_NAME: "../x:1"}), (WEB, {REF_NAME: OTHER})])),
            names=(OTHER,), left_out=rf"{DIGEST} \(unusable name '\.\./x:1'",
        ),
    ),
    "import-DATE": (
        archives(
            "containerd 1.6 and 2.x", "imports an archive without a name as `import-DATE@DIGEST`, and exports it so",
            "measured", "that is not a name: airgap reports it, and `digest:` with `as:` takes it",
        ),
        Case(
            tarred(files_of([(APP, {CONTAINERD_NAME: f"import-2026-01-01@{DIGEST}"}), (WEB, {REF_NAME: OTHER})])),
            names=(OTHER,), left_out="not a whole name: 'import-2026-01-01@",
        ),
    ),
    "upper case": (
        archives(
            "Bazel rules_docker", "writes RepoTags with upper-case letters",
            "bazelbuild/rules_docker#1648", "only that image is hidden, and reported",
        ),
        Case(
            tarred(docker_files(RepoTags=["Acme/App:1", NAME])), names=(NAME,),
        ),
    ),
    "moby 25.0.0": (
        archives(
            "Docker 25.0.0", "`docker save NAME@DIGEST` writes `manifests: null`", "moby/moby#47210",
            "the image is taken from manifest.json",
        ),
        Case(tarred({**docker_files(RepoTags=None), "index.json": b'{"schemaVersion":2,"manifests":null}'}),
             more=AS, names=MADE),
    ),
    "saved by digests": (
        archives(
            "Docker 25 to 28", "`docker save` of several digests lists only the first in index.json",
            "moby/moby#51389", "the others are found in manifest.json, and reported",
        ),
        Case(
            tarred(hybrid({NAME: APP}, items=[item(APP, NAME), item(WEB)])
                   | {digest.path: raw for digest, raw in WEB.contents.items()}),
            names=(NAME,), left_out=f"{WEB.config}.*no name",
        ),
    ),
    "fallback tag": (
        archives(
            "clients of OCI 1.1", "keep what refers to an image in an index under the tag `sha256-HEX`",
            "OCI distribution-spec 1.1, Referrers Tag Schema", "it is carried with its image",
        ),
        Case(
            folder_of(files_of([(APP, {REF_NAME: NAME}), (LISTING, {REF_NAME: FALLBACK})])),
            names=(NAME, f"registry.example/acme/app@{SIGNATURE.descriptor.digest}"),
        ),
    ),
    "fallback tag in an archive": (
        archives(
            "clients of OCI 1.1", "a copy of all tags has that index, too", "google/go-containerregistry#1543",
            "in an archive its referrers are carried with their image, too",
        ),
        Case(
            tarred(files_of([(APP, {REF_NAME: NAME}), (LISTING, {REF_NAME: FALLBACK})])),
            names=(NAME, f"registry.example/acme/app@{SIGNATURE.descriptor.digest}"),
        ),
    ),
    "hauler": (
        archives(
            "Hauler", "gives a signature the name of its image, told apart by an annotation `kind`",
            "hauler-dev/hauler pkg/content", "the name means the image; the signature has cosign's tag",
        ),
        Case(
            tarred(
                files_of([
                    (APP, {REF_NAME: NAME, "kind": "dev.hauler/image"}),
                    (WEB, {REF_NAME: OTHER, "kind": "dev.hauler/image"}),
                    (simple_image("sig"), {REF_NAME: NAME, "kind": "dev.hauler/sigs"}),
                ]),
                zstandard.compress, "haul.tar.zst",
            ),
            names=(NAME, f"registry.example/acme/app:sha256-{DIGEST.hex}.sig", OTHER),
        ),
    ),
    "zarf": (
        archives(
            "Zarf", "names its images in `org.opencontainers.image.base.name`", "zarf-dev/zarf#1423",
            "that is the name of a base: `digest:` and `as:` take an image",
        ),
        Case(
            folder_of(files_of([(APP, {"org.opencontainers.image.base.name": NAME})])), more=AS, names=MADE,
        ),
    ),
}  # fmt: skip


@replays(CASES)
def test_form(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)
