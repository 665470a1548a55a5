"""Which entry has which name: every form that makers write, and names that lie."""

import pytest

from airgap.endpoints.naming import IndexEntry, Lookup, index_entries, usable_names
from airgap.errors import AmbiguousError
from airgap.oci.digest import Digest
from airgap.oci.documents import CONTAINERD_NAME, OCI_INDEX, OCI_MANIFEST, REF_NAME, Descriptor
from airgap.oci.reference import ImageReference
from airgap.oci.strict_json import dump

DIGEST, OTHER = Digest.of(b"image"), Digest.of(b"other")
API = ImageReference.parse("ghcr.io/acme/api:2.3")
KIND = "kind"


def entry(digest: Digest = DIGEST, **annotations: str) -> Descriptor:
    return Descriptor(OCI_MANIFEST, digest, 1, annotations=annotations)


def entries_of(*entries: Descriptor) -> list[IndexEntry]:
    index = {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [{**each.to_json(), "annotations": dict(each.annotations)} for each in entries],
    }
    return index_entries(dump(index), "index.json")


def name_of(annotations: dict[str, str]) -> IndexEntry:
    [found] = entries_of(entry(**annotations))
    return found


GOOD = {
    "Docker, containerd, BuildKit": ({CONTAINERD_NAME: str(API), REF_NAME: "2.3"}, (API,), None),
    "podman, crane": ({REF_NAME: str(API)}, (API,), None),
    "skopeo with a tag": ({REF_NAME: "2.3"}, (), "2.3"),
    "short name": ({REF_NAME: "nginx:1.27"}, (ImageReference.parse("nginx:1.27"),), None),
    "the same twice": ({CONTAINERD_NAME: "docker.io/library/nginx:1", REF_NAME: "nginx:1"},
                       (ImageReference.parse("nginx:1"),), None),
    "digest": ({CONTAINERD_NAME: f"ghcr.io/acme/api@{DIGEST}", REF_NAME: f"@{DIGEST}"},
               (ImageReference.parse(f"ghcr.io/acme/api@{DIGEST}"),), None),
    "tag and digest": ({CONTAINERD_NAME: f"{API}@{DIGEST}", REF_NAME: f"2.3@{DIGEST}"},
                       (API.with_digest(DIGEST),), None),
    "no annotation": ({}, (), None),
    "empty": ({CONTAINERD_NAME: "", REF_NAME: ""}, (), None),
}  # fmt: skip


@pytest.mark.parametrize(("annotations", "names", "tag"), GOOD.values(), ids=GOOD)
def test_annotations_that_name_an_image_are_read(
    annotations: dict[str, str], names: tuple[ImageReference, ...], tag: str | None
) -> None:
    found = name_of(annotations)
    assert (found.names, found.tag, found.problem) == (names, tag, "")


HIDDEN = {
    "upper case": ({REF_NAME: "ghcr.io/Acme/api:1"}, "unusable name 'ghcr.io/Acme/api:1'"),
    "free text": ({REF_NAME: "../../etc:x"}, "unusable name"),
    "space": ({CONTAINERD_NAME: "a b/c:1"}, "unusable name"),
    "a word": ({CONTAINERD_NAME: "nginx"}, "not a whole name: 'nginx'"),
    "imported": ({CONTAINERD_NAME: f"import-2026-01-01@{DIGEST}"}, "not a whole name"),
    "only an ID": ({CONTAINERD_NAME: str(OTHER)}, "not a whole name"),
    "digest of another": ({REF_NAME: f"ghcr.io/acme/api@{OTHER}"}, "it has the digest of another image"),
    "tag and digest of another": ({CONTAINERD_NAME: f"{API}@{OTHER}"}, "it has the digest of another image"),
    "no digest": ({REF_NAME: "ghcr.io/acme/api@sha256:12"}, "unusable name"),
    "crane": ({REF_NAME: "ghcr.io/acme/api:i-was-a-digest"}, "not a name of its own"),
    "left by a load": ({CONTAINERD_NAME: f"airgap.invalid/loading/1:{DIGEST.hex}"}, "not a name of its own"),
    "control characters": ({REF_NAME: "a/b:1\x1b[2J"}, "unusable name"),
    "endless": ({REF_NAME: "a/" * 5000}, "unusable name"),
}


@pytest.mark.parametrize(("annotations", "problem"), HIDDEN.values(), ids=HIDDEN)
def test_hidden(annotations: dict[str, str], problem: str) -> None:
    found = name_of(annotations)
    assert found.names == ()
    assert problem in found.problem
    assert len(found.problem) < 300


def test_a_bad_name_hides_only_its_own_entry() -> None:
    entries = [entry(**{REF_NAME: "Bad/Name:1"}), entry(OTHER, **{REF_NAME: str(API)})]
    assert [found.names for found in entries_of(*entries)] == [(), (API,)]


def test_two_names_for_one_entry_are_refused() -> None:
    with pytest.raises(AmbiguousError, match="two names"):
        name_of({CONTAINERD_NAME: "a/b:1", REF_NAME: "a/b:2"})


def test_a_bad_name_beside_a_good_one() -> None:
    assert name_of({CONTAINERD_NAME: str(API), REF_NAME: "Bad/Name:1"}).names == (API,)


def test_a_tag_that_two_have_means_neither() -> None:
    class Image:
        names, tag, ids = (), "1", frozenset({DIGEST})

    assert len(Lookup([Image()]).by_tag(ImageReference.parse("x:1"))) == 1
    assert Lookup([Image(), Image()]).by_tag(ImageReference.parse("x:1")) == []


def test_repo_tags_keep_what_can_be_used() -> None:
    names, problem = usable_names(["a:1", "B:1", "<none>:<none>", str(OTHER), "a:1"], DIGEST)
    assert names == (ImageReference.parse("a:1"),)
    assert "'B:1'" in problem


SIG = f"sha256-{DIGEST.hex}.sig"
COSIGN = "dev.cosignproject.cosign/"


class TestKinds:
    def test_cosign_save(self) -> None:
        entries = [
            entry(**{KIND: f"{COSIGN}imageIndex"}),
            entry(OTHER, **{KIND: f"{COSIGN}sigs"}),
            entry(OTHER, **{KIND: f"{COSIGN}atts"}),
        ]
        tags = [found.tag for found in entries_of(*entries)]
        assert tags == [None, SIG, SIG.replace(".sig", ".att")]

    def test_hauler_gives_all_the_name_of_the_image(self) -> None:
        named = {REF_NAME: str(API)}
        entries = [
            entry(**named, kind="dev.hauler/image"),
            entry(Digest.of(b"2"), **{REF_NAME: "x/y:1"}, kind="dev.hauler/image"),
            entry(OTHER, **named, kind="dev.hauler/sigs/0123"),
            entry(OTHER, **named, kind="dev.hauler/referrers/0123"),
        ]
        found = entries_of(*entries)
        assert [(len(each.names), each.tag) for each in found] == [(1, None), (1, None), (0, SIG), (0, None)]

    @pytest.mark.parametrize("images", [0, 2])
    def test_of_which_image_is_not_guessed(self, images: int) -> None:
        entries = [entry(Digest.of(bytes([n])), kind=f"{COSIGN}image") for n in range(images)]
        found = entries_of(*entries, entry(OTHER, kind=f"{COSIGN}sigs"))
        assert (found[-1].names, found[-1].tag) == ((), None)

    @pytest.mark.parametrize(
        "kind", ["sigs", "dev.cosignproject.cosign/sigsX", "x/dev.hauler/sigs", "dev.hauler/"]
    )
    def test_other_kinds_mean_nothing(self, kind: str) -> None:
        assert name_of({REF_NAME: str(API), KIND: kind}).names == (API,)
