"""Tags become digests, and every contradiction is found before anything is fetched."""

import pytest

from airgap.endpoints.attachments import Attachment, Attachments, AttachmentSource
from airgap.errors import EndpointError, FormatError, IntegrityError, NotFoundError
from airgap.online.lock import resolve
from tests.support.images import simple_image
from tests.support.memory_sources import MemoryEngine, MemorySource, Opener
from tests.unit.online.support import lock_of, manifest_of

A, B = simple_image("a"), simple_image("b")
IMAGES = {"example.com/a:1": A, "example.com/b:1": B}
NONE = f"sha256:{'0' * 64}"


def test_tags_become_digests_in_the_order_of_the_manifest():
    lock = lock_of(manifest_of("example.com/b:1", "example.com/a:1"), registry=MemorySource(IMAGES))
    assert [(str(i.reference), i.descriptor, i.image_id) for i in lock.images] == [
        ("example.com/b:1", B.descriptor, None),
        ("example.com/a:1", A.descriptor, None),
    ]


def test_a_pinned_digest_is_what_is_asked_for():
    source = MemorySource({"example.com/a:1": A})
    entry = f"{{ref: 'example.com/a:2', digest: '{A.descriptor.digest}'}}"  # the tag does not matter
    [image] = lock_of(manifest_of(entry), registry=source).images
    assert image.descriptor == A.descriptor


def test_engines_name_images_by_id():
    manifest = manifest_of("{ref: example.com/a:1, source: docker}")
    [image] = lock_of(manifest, docker=MemoryEngine(IMAGES, repacked=True)).images
    assert (image.descriptor, image.image_id) == (None, A.config)


@pytest.mark.parametrize("tag", ["1", "2"])
def test_an_engine_that_knows_the_pinned_digest_of_a_registry(tag):
    """Its own ID is another digest, and the tag does not matter."""
    pinned = f"example.com/a:{tag}@{NONE}"
    entry = f"{{ref: 'example.com/a:{tag}', digest: '{NONE}', source: docker}}"
    [image] = lock_of(manifest_of(entry), docker=MemoryEngine({pinned: A}, repacked=True)).images
    assert (str(image.reference), str(image.name)) == (pinned, f"example.com/a:{tag}")
    assert (image.descriptor, image.image_id) == (None, A.config)


def test_an_engine_whose_image_id_is_pinned():
    entry = f"{{ref: 'example.com/a:1', digest: '{A.config}', source: docker}}"
    [image] = lock_of(manifest_of(entry), docker=MemoryEngine(IMAGES, repacked=True)).images
    assert image.image_id == A.config


@pytest.mark.parametrize("twin", ["EXAMPLE.com/a:1", "example.com:443/a:1"])
def test_one_name_in_two_spellings_in_an_archive(twin):
    def locked(other):
        source = MemorySource({"example.com/a:1": A, twin: other})
        return resolve(manifest_of("{archive: vendor/app.tar}"), Opener({"archive": source}))

    assert [str(image.name) for image in locked(A).images] == ["example.com/a:1"]
    with pytest.raises(FormatError, match="two images have the same name"):
        locked(B)


def test_an_archive_without_a_ref_means_all_that_is_in_it():
    opener = Opener({"archive": MemorySource(IMAGES)})
    manifest = manifest_of("{archive: vendor/app.tar}")
    lock = resolve(manifest, opener)
    assert [str(image.name) for image in lock.images] == list(IMAGES)
    assert opener.asked == [("archive", None, manifest.path.parent / "vendor/app.tar")]


def test_the_same_image_twice_is_one():
    manifest = manifest_of("example.com/a:1", "{oci: source}")
    lock = lock_of(manifest, registry=MemorySource(IMAGES), oci=MemorySource({"example.com/a:1": A}))
    assert len(lock.images) == 1


@pytest.mark.parametrize(
    ("entries", "error", "message"),
    [
        (["example.com/c:1"], NotFoundError, "not found: example.com/c:1"),
        (["example.com/c:1", "example.com/d:1"], NotFoundError, "example.com/c:1"),
        ([f"{{ref: 'example.com/a:1', digest: '{NONE}'}}"], NotFoundError, NONE),
        ([f"{{ref: 'example.com/a:1', source: docker, digest: '{NONE}'}}"], IntegrityError, "not the pinned digest"),
        (["{oci: source, as: example.com/x:1}"], FormatError, "need a single image"),
        ([f"{{oci: source, digest: '{NONE}'}}"], NotFoundError, "no image has this digest"),
        (["{archive: empty.tar}"], NotFoundError, "there is no image to lock"),
        (["{archive: empty.tar, ref: example.com/a:1}"], NotFoundError, "not found"),
    ],
)  # fmt: skip
def test_refused(entries, error, message):
    sources = {
        "registry": MemorySource(IMAGES),
        "docker": MemoryEngine(IMAGES),
        "oci": MemorySource(IMAGES),
        "archive": MemorySource({}),
    }
    with pytest.raises(error, match=message):
        lock_of(manifest_of(*entries), **sources)


def test_two_images_for_one_name():
    manifest = manifest_of("example.com/a:1", "{oci: source}")
    with pytest.raises(
        FormatError, match=r"two images have the same name: example.com/a:1, got different digests"
    ):
        lock_of(manifest, registry=MemorySource(IMAGES), oci=MemorySource({"example.com/a:1": B}))


def test_an_engine_cannot_say_what_is_attached():
    manifest = manifest_of("{ref: example.com/a:1, source: docker}", head="attachments: required\n")
    with pytest.raises(EndpointError, match="an engine does not have attachments: example"):
        lock_of(manifest, docker=MemoryEngine(IMAGES))


def test_what_one_image_requires_is_not_optional_for_another():
    class Registry(MemorySource, AttachmentSource):
        def attachments(self, reference, subjects, also=(), *, thorough=False):
            about = [digest for digest in subjects if digest == A.descriptor.digest]
            return Attachments(tuple(Attachment(digest, B.descriptor) for digest in about))

    source = Registry({**IMAGES, "example.com/a:2": A})
    entries = ("example.com/a:1", "{ref: 'example.com/a:2', attachments: required}")
    for order in (entries, entries[::-1]):
        lock = lock_of(manifest_of(*order), registry=source)
        assert [image.is_optional for image in lock.images] == [False, False, False]


def test_an_engine_cannot_be_asked_for_all():
    with pytest.raises(FormatError, match=r"the image is not named"):
        lock_of(manifest_of("{archive: x.tar}"), archive=MemoryEngine(IMAGES))
