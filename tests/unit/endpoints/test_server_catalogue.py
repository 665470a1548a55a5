import json
from pathlib import Path

import pytest

from airgap.endpoints.layout import Layout
from airgap.endpoints.server.catalogue import Catalogue, build_catalogue
from airgap.errors import (
    AirgapError,
    AmbiguousError,
    DigestMismatchError,
    FormatError,
    NotFoundError,
    SizeMismatchError,
)
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_INDEX, OCI_MANIFEST, Descriptor
from tests.support.damage import flip
from tests.support.images import Image, make_index, simple_image, write_layout

ONE, TWO = simple_image("one"), simple_image("two")


def catalogue_of(folder: Path, *layouts: dict[str, Image]) -> Catalogue:
    return build_catalogue(
        [Layout(write_layout(folder / str(i), images)) for i, images in enumerate(layouts)]
    )


def tags(catalogue: Catalogue) -> dict[str, dict[str, Digest]]:
    return {name: repository.tags for name, repository in catalogue.repositories.items()}


def document(value: dict[str, object], below: Image | None = None) -> Image:
    raw = json.dumps({"schemaVersion": 2, **value}).encode()
    media_type = str(value["mediaType"])
    digest = Digest.of(raw)
    return Image(
        Descriptor(media_type, digest, len(raw)), raw, {**(below.contents if below else {}), digest: raw}
    )


def test_each_image_has_a_full_and_a_short_name(tmp_path: Path):
    catalogue = catalogue_of(tmp_path, {"docker.io/library/nginx:1.27": ONE, "ghcr.io/acme/api:2": TWO})
    nginx, api = {"1.27": ONE.descriptor.digest}, {"2": TWO.descriptor.digest}
    assert tags(catalogue) == {
        "docker.io/library/nginx": nginx,
        "library/nginx": nginx,
        "ghcr.io/acme/api": api,
        "acme/api": api,
    }
    assert catalogue.notes == ()


def test_a_short_name_of_two_registries_is_not_served(tmp_path: Path):
    catalogue = catalogue_of(tmp_path, {"ghcr.io/acme/api:1": ONE}, {"quay.io/acme/api:2": TWO})
    assert set(catalogue.repositories) == {"ghcr.io/acme/api", "quay.io/acme/api"}
    [note] = catalogue.notes
    assert note.startswith("acme/api is not served")
    assert "ghcr.io/acme/api, quay.io/acme/api" in note


def test_a_full_name_is_not_taken_by_a_short_one(tmp_path: Path):
    catalogue = catalogue_of(tmp_path, {"ghcr.io/acme/api:1": ONE, "docker.io/ghcr.io/acme/api:1": TWO})
    assert tags(catalogue)["ghcr.io/acme/api"] == {"1": ONE.descriptor.digest}
    assert len(catalogue.notes) == 1


def test_the_first_source_wins(tmp_path: Path):
    catalogue = catalogue_of(
        tmp_path, {"a/x:1": ONE, "a/x:2": ONE}, {"a/x:1": TWO, "a/x:2": ONE, "a/x:3": TWO}
    )
    found = {"1": ONE.descriptor.digest, "2": ONE.descriptor.digest, "3": TWO.descriptor.digest}
    assert tags(catalogue)["a/x"] == found
    [note] = catalogue.notes
    assert "docker.io/a/x:1" in note
    assert str(ONE.descriptor.digest) in note


def test_one_name_in_two_spellings_is_one_repository(tmp_path: Path):
    """Clients in Go ask for a host as it is written in the name of an image."""
    catalogue = catalogue_of(tmp_path, {"ghcr.io/acme/api:1": ONE}, {"GHCR.io:443/acme/api:1": TWO})
    first = {"1": ONE.descriptor.digest}
    assert tags(catalogue) == {"ghcr.io/acme/api": first, "acme/api": first}
    [note] = catalogue.notes
    assert note.startswith("GHCR.io:443/acme/api:1 of ")
    assert "is not served" in note


@pytest.mark.parametrize("namespace", ["ghcr.io", "GHCR.io", "ghcr.io:443", "Ghcr.io:0443"])
def test_the_registry_that_a_mirror_is_asked_for_in_another_spelling(tmp_path: Path, namespace: str):
    catalogue = catalogue_of(tmp_path, {"ghcr.io/acme/api:1": ONE, "quay.io/acme/api:1": TWO})
    found = catalogue.repository("acme/api", namespace)
    assert found is catalogue.repositories["ghcr.io/acme/api"]


@pytest.mark.parametrize(
    "namespace", [None, "", ":", "ghcr.io:\u00b2", "ghcr.io:" + "9" * 5000, "ghcr.io:80"]
)
def test_another_registry_is_another_name_of_this_server(tmp_path: Path, namespace: str | None):
    catalogue = catalogue_of(tmp_path, {"ghcr.io/acme/api:1": ONE})
    assert catalogue.repository("acme/api", namespace) is catalogue.repositories["acme/api"]


def test_a_digest_beside_a_tag_is_not_a_separate_name(tmp_path: Path):
    names = ("ghcr.io/acme/api:1", f"ghcr.io/acme/api:1@{ONE.descriptor.digest}")
    catalogue = catalogue_of(tmp_path, *({name: ONE} for name in names))
    assert tags(catalogue)["ghcr.io/acme/api"] == {"1": ONE.descriptor.digest}
    assert catalogue.notes == ()


def test_a_repository_has_no_content_of_other_images(tmp_path: Path):
    catalogue = catalogue_of(tmp_path, {"a/x:1": ONE, "a/y:1": TWO})
    x = catalogue.repositories["a/x"]
    assert x.documents.keys() | x.blobs.keys() == set(ONE.contents)


def test_a_digest_only_image_has_no_tag(tmp_path: Path):
    catalogue = catalogue_of(tmp_path, {f"a/x@{ONE.descriptor.digest}": ONE})
    assert tags(catalogue)["a/x"] == {}
    assert ONE.descriptor.digest in catalogue.repositories["a/x"].documents


def test_a_sparse_index_is_served_as_far_as_it_goes(tmp_path: Path):
    index = make_index([ONE, TWO])
    layout = write_layout(tmp_path, {"a/x:1": index})
    (layout / TWO.descriptor.digest.path).unlink()
    repository = build_catalogue([Layout(layout)]).repositories["a/x"]
    assert set(repository.documents) == {index.descriptor.digest, ONE.descriptor.digest}
    assert not repository.blobs.keys() & set(TWO.layers)


def test_blobs_straight_in_an_index(tmp_path: Path):
    blob = {
        "mediaType": "application/x",
        "digest": str(ONE.layers[0]),
        "size": len(ONE.contents[ONE.layers[0]]),
    }
    index = document({"mediaType": OCI_INDEX, "manifests": [blob]}, ONE)
    repository = catalogue_of(tmp_path, {"a/x:1": index}).repositories["a/x"]
    assert set(repository.blobs) == {ONE.layers[0]}


@pytest.mark.parametrize("own_type", ["application/vnd.example.sbom", None])
def test_referrers_are_known_by_their_subject(tmp_path: Path, own_type: str | None):
    config = Descriptor("application/vnd.example.config", ONE.layers[0], len(ONE.contents[ONE.layers[0]]))
    signature = document(
        {
            "mediaType": OCI_MANIFEST, "config": config.to_json(), "layers": [],
            "subject": ONE.descriptor.to_json(), "annotations": {"by": "acme"},
            **({"artifactType": own_type} if own_type else {}),
        },
        ONE,
    )  # fmt: skip
    repository = catalogue_of(tmp_path, {"a/x:1": ONE, "a/x:sig": signature}).repositories["a/x"]
    [found] = repository.referrers[ONE.descriptor.digest].values()
    assert found.digest == signature.descriptor.digest
    assert found.artifact_type == (own_type or config.media_type)
    assert found.annotations == {"by": "acme"}


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (Path.unlink, NotFoundError),
        (flip, DigestMismatchError),
        (lambda path: path.write_bytes(b"{}"), SizeMismatchError),
    ],
    ids=["missing", "flipped", "other size"],
)
def test_a_broken_image_stops_the_start(tmp_path: Path, change, kind: type[AirgapError]):
    layout = write_layout(tmp_path, {"a/x:1": ONE})
    change(layout / ONE.descriptor.digest.path)
    with pytest.raises(kind):
        build_catalogue([Layout(layout)])


def nested(depth: int) -> Image:
    image = ONE
    for _ in range(depth):
        index = {"mediaType": OCI_INDEX, "manifests": [image.descriptor.to_json()]}
        image = document(index, image)
    return image


def test_indexes_nested_to_the_limit(tmp_path: Path):
    assert len(catalogue_of(tmp_path, {"a/x:1": nested(3)}).repositories["a/x"].documents) == 4


@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (nested(4), FormatError),
        (document({"mediaType": OCI_MANIFEST}), AmbiguousError),
        (document({"mediaType": OCI_INDEX, "manifests": [], "layers": []}), AmbiguousError),
        (
            document({"mediaType": OCI_INDEX, "manifests": [{"mediaType": "x", "digest": "y", "size": 1}]}),
            FormatError,
        ),
    ],
    ids=["too deep", "empty manifest", "both kinds", "bad digest"],
)
def test_a_bad_document_stops_the_start(tmp_path: Path, image: Image, kind: type[AirgapError]):
    with pytest.raises(kind):
        catalogue_of(tmp_path, {"a/x:1": image})


def test_a_client_may_say_which_registry_it_means(tmp_path: Path):
    """As containerd does to a mirror; what another registry has under that name is another image."""
    images = {"ghcr.io/acme/api:1": ONE, "quay.io/acme/api:1": TWO, "quay.io/acme/web:1": ONE}
    catalogue = catalogue_of(tmp_path, images)
    assert catalogue.registries == ("ghcr.io", "quay.io")

    def found(name: str, namespace: str | None) -> Digest | None:
        repository = catalogue.repository(name, namespace)
        return repository.tags["1"] if repository else None

    assert found("acme/api", "ghcr.io") == ONE.descriptor.digest
    assert found("acme/api", "quay.io") == TWO.descriptor.digest
    assert found("acme/api", None) is None
    assert found("acme/web", "ghcr.io") is None
    assert found("acme/web", "another.name:5000") == found("acme/web", None) == ONE.descriptor.digest
    assert found("quay.io/acme/web", "quay.io") is None
