"""Which images of an archive or layout an item of a manifest means, and what is said of the others."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from airgap.endpoints.listing import ListedImage, ListingSource, merged
from airgap.endpoints.ports import ExportSource
from airgap.errors import FormatError, IntegrityError, NotFoundError
from airgap.manifest import Lock
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from airgap.online.lock import resolve
from tests.support.memory_sources import Opener
from tests.unit.online.support import manifest_of

D = [Digest.of(bytes([number])) for number in range(9)]
A, B = ImageReference.parse("example.com/a:1"), ImageReference.parse("example.com/b:1")


def image(number: int, *names: ImageReference, **more: object) -> ListedImage:
    ids = frozenset({D[number]})
    return ListedImage(D[number], names, **{"ids": ids, "contents": ids, **more})


@dataclass
class Listed(ExportSource, ListingSource):
    """An archive that holds what it is told."""

    images: Sequence[ListedImage]
    name: str = "archive:x.tar"
    asked: list[ImageReference] = field(default_factory=list)

    def list_images(self) -> list[ListedImage]:
        return merged(self.images)

    def identify(self, reference: ImageReference) -> Digest:
        for each in self.images:
            if reference.digest in each.ids or (reference.digest is None and reference in each.names):
                return each.digest
        raise NotFoundError("not found", subject=reference)

    def export(self, *_: object) -> list:
        raise AssertionError


def lock(images: Sequence[ListedImage], *items: str) -> Lock:
    return resolve(manifest_of(*(items or ("{archive: x.tar}",))), Opener({"archive": Listed(images)}))


def names(found: Lock) -> list[tuple[str, Digest | None]]:
    return [(str(each.name), each.image_id) for each in found.images]


def item(**more: object) -> str:
    return "{archive: x.tar, " + ", ".join(f"{key}: '{value}'" for key, value in more.items()) + "}"


def test_one_without_a_name_needs_as_only() -> None:
    found = lock([image(1)], item(**{"as": "made/x:1"}))
    assert names(found) == [("docker.io/made/x:1", D[1])]
    assert str(found.images[0].reference) == f"docker.io/made/x:1@{D[1]}"


def test_a_digest_picks_one_and_may_be_its_configs() -> None:
    images = [image(1), image(2, ids=frozenset({D[2], D[3]})), image(4, A)]
    for wanted in (2, 3):
        found = lock(images, item(digest=D[wanted], **{"as": "made/x:1"}))
        assert names(found) == [("docker.io/made/x:1", D[2])]
        assert found.left_out == ()


def test_a_digest_keeps_the_name_that_the_image_has() -> None:
    assert names(lock([image(1), image(4, A)], item(digest=D[4]))) == [(str(A), D[4])]


def test_an_image_with_two_names_is_one_image() -> None:
    assert names(lock([image(1, A), image(1, B)])) == [(str(A), D[1]), (str(B), D[1])]
    assert names(lock([image(1, A, B)], item(**{"as": "made/x:1"}))) == [("docker.io/made/x:1", D[1])]


REFUSED = {
    "no name": ([image(1)], item(), FormatError, f"none of the images has a name: archive:x.tar, got {D[1]} \\(no name\\)"),
    "only a tag": ([image(1, tag="1")], item(), FormatError, f"got {D[1]} \\(1\\)"),
    "several, and as": (
        [image(1), image(2, A)], item(**{"as": "made/x:1"}), FormatError,
        f"need a single image: archive:x.tar, got {D[1]} \\(no name\\), {D[2]} \\({A}\\)",
    ),
    "no such digest": ([image(1, A)], item(digest=D[2]), NotFoundError, f"no image has this digest: archive:x.tar: {D[2]}"),
    "a digest, and no name": ([image(1), image(2, A)], item(digest=D[1]), FormatError, "none of the images has a name"),
    "a config that two have": (
        [image(1, A, ids=frozenset({D[1], D[9 - 1]})), image(2, B, ids=frozenset({D[2], D[8]}))],
        item(digest=D[8]), FormatError, "need a single image",
    ),
    "nothing": ([], item(), NotFoundError, "there is no image to lock: archive:x.tar"),
    "only what is attached": ([image(1, subject=D[2])], item(**{"as": "x:1"}), NotFoundError, "there is no image to lock"),
    "a ref with another digest": ([image(1, A)], item(ref=A, digest=D[2]), IntegrityError, "not the pinned digest"),
}  # fmt: skip


@pytest.mark.parametrize(("images", "text", "kind", "message"), REFUSED.values(), ids=REFUSED)
def test_refused(images: list[ListedImage], text: str, kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        lock(images, text)


def test_a_ref_for_an_image_without_a_name_has_a_hint_about_as() -> None:
    with pytest.raises(NotFoundError) as caught:
        lock([image(1)], item(ref=A))
    assert caught.value.hint == f"the only image there has no name: write `as: {A}` instead of `ref`"
    with pytest.raises(NotFoundError) as caught:
        lock([image(1), image(2)], item(ref=A))
    assert caught.value.hint is None


def test_many_are_counted() -> None:
    images = [ListedImage(Digest.of(b"%d" % n), ids=frozenset()) for n in range(30)]
    with pytest.raises(FormatError, match="and 20 more"):
        lock(images)


LEFT = {
    "no name": (image(1), "it has no name; add it with `digest:` and `as:`"),
    "a tag": (image(1, tag="1.0"), "it has only the tag '1.0'"),
    "a bad name": (
        image(1, problem="unusable name 'B:1'"),
        "unusable name 'B:1'; add it with `digest:` and `as:`",
    ),
    "attached elsewhere": (image(1, subject=D[7]), f"attached to {D[7]}, which is left out"),
}


@pytest.mark.parametrize(("left", "why"), LEFT.values(), ids=LEFT)
def test_what_is_left_out_is_said(left: ListedImage, why: str) -> None:
    found = lock([image(2, A), left])
    assert names(found) == [(str(A), D[2])]
    [said] = found.left_out
    assert str(said) == f"left out of archive:x.tar: {D[1]} ({said.why})"
    assert why in said.why


def test_what_another_item_takes_is_not_left_out() -> None:
    found = lock([image(2, A), image(1)], item(), item(digest=D[1], **{"as": "made/x:1"}))
    assert len(found.images) == 2
    assert found.left_out == ()


def test_a_single_choice_reports_no_others() -> None:
    assert lock([image(2, A), image(1)], item(ref=A)).left_out == ()


def test_what_is_in_an_index_that_is_taken_is_not_left_out() -> None:
    index = image(2, A, contents=frozenset({D[2], D[1]}))
    assert lock([index, image(1)]).left_out == ()
    assert names(lock([image(2, contents=frozenset({D[2], D[1]})), image(1)], item(**{"as": "made/x:1"})))


class TestAttached:
    def test_by_subject(self) -> None:
        found = lock([image(2, A), image(1, subject=D[2]), image(3, subject=D[1])])
        assert names(found) == [
            (str(A), D[2]),
            (f"example.com/a@{D[1]}", D[1]),
            (f"example.com/a@{D[3]}", D[3]),
        ]
        assert found.left_out == ()
        assert {each.platforms for each in found.images[1:]} == {()}

    def test_to_a_manifest_in_an_index(self) -> None:
        index = image(2, A, contents=frozenset({D[2], D[5]}))
        assert len(names(lock([index, image(1, subject=D[5])]))) == 2

    def test_by_a_tag_of_cosigns(self) -> None:
        found = lock([image(2, A), image(1, tag=f"sha256-{D[2].hex}.sig")])
        assert names(found)[1] == (f"example.com/a:sha256-{D[2].hex}.sig", D[1])

    def test_under_each_name_of_the_image(self) -> None:
        found = lock([image(2, A, B), image(1, subject=D[2])])
        assert [str(each.name) for each in found.images] == [
            str(A), f"example.com/a@{D[1]}", str(B), f"example.com/b@{D[1]}",
        ]  # fmt: skip

    def test_with_a_ref_too(self) -> None:
        assert len(lock([image(2, A), image(1, subject=D[2])], item(ref=A)).images) == 2

    def test_one_that_refers_to_itself_ends(self) -> None:
        found = lock([image(2, A), image(1, subject=D[1]), image(3, subject=D[2])])
        assert len(found.images) == 2
        assert [left.digest for left in found.left_out] == [D[1]]

    def test_not_deeper_than_a_signature_of_an_sbom(self) -> None:
        chain = [image(number, subject=D[number - 1]) for number in range(3, 7)]
        found = lock([image(2, A), *chain])
        assert len(found.images) == 3
        assert len(found.left_out) == 2
