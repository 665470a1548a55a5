"""The lock: written readably and always the same, read back as it was, mistakes with their line."""

from dataclasses import replace
from pathlib import Path
from string import ascii_letters, ascii_lowercase, digits

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.errors import FormatError
from airgap.limits import MAX_BLOB_BYTES
from airgap.manifest import AttachmentChoice, Lock, LockedImage, lock_path, offline_name
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_INDEX, OCI_MANIFEST, Descriptor
from airgap.oci.platform import Platform
from airgap.oci.reference import ImageReference

D0, D1 = "sha256:" + "0" * 64, "sha256:" + "1" * 64
SUM = "2" * 64
HERE = Path("/m")


def ref(text):
    return ImageReference.parse(text)


NGINX = LockedImage(
    reference=ref("nginx:1.27"), name=ref("plant.example/nginx:1.27"), source="registry", path=None,
    platforms=(Platform("linux", "amd64"), Platform("linux", "arm", "v6")),
    descriptor=Descriptor(OCI_INDEX, Digest.parse(D0), 1234), image_id=None, cosign_key=HERE / "keys/acme.pub",
)  # fmt: skip
APP = LockedImage(
    reference=ref("acme/app:1.10"),
    name=ref("acme/app:1.10"),
    source="archive",
    path=HERE / "vendor/app.tar",
    platforms=(),
    descriptor=None,
    image_id=Digest.parse(D1),
)
LOCK = Lock("edge-stack", SUM, (NGINX, APP))
TEXT = f"""\
# written by airgap lock; commit it beside the manifest
version: 1
name: edge-stack
manifest_sha256: '{SUM}'
images:
- ref: docker.io/library/nginx:1.27
  as: plant.example/nginx:1.27
  source: registry
  platforms:
  - linux/amd64
  - linux/arm/v6
  digest: {D0}
  media_type: {OCI_INDEX}
  size: 1234
  cosign-key: keys/acme.pub
- ref: docker.io/acme/app:1.10
  as: docker.io/acme/app:1.10
  source: archive
  archive: vendor/app.tar
  platforms: []
  image_id: {D1}
"""


def test_it_is_written_readably():
    assert LOCK.to_bytes(HERE).decode() == TEXT


def test_it_reads_back(tmp_path):
    path = tmp_path / "edge-stack.lock.yaml"
    path.write_text(TEXT)
    assert Lock.load(path) == Lock(
        "edge-stack", SUM,
        (replace(NGINX, cosign_key=tmp_path / "keys/acme.pub"), replace(APP, path=tmp_path / "vendor/app.tar")),
    )  # fmt: skip


def test_what_is_said_of_attachments_is_at_the_end(tmp_path):
    image = replace(
        APP,
        attachments=AttachmentChoice.REQUIRED,
        attachments_unknown="tags: no answer",
        subject=Digest.parse(D0),
    )
    written = Lock("a", SUM, (image,)).to_bytes(HERE).decode()
    tail = f"  image_id: {D1}\n  attachments: required\n  attachments_unknown: 'tags: no answer'\n  subject: {D0}\n"
    assert written.endswith(tail)
    assert (image.is_demanding, image.is_optional) == (True, False)
    assert (NGINX.is_demanding, NGINX.is_optional) == (True, False)  # it has a key
    assert (APP.is_demanding, APP.is_optional) == (False, False)
    assert replace(APP, subject=Digest.parse(D0)).is_optional


@pytest.mark.parametrize(
    ("path", "folder", "written"),
    [
        ("/m/a.tar", "/m", "a.tar"),
        ("/m/../v/a.tar", "/m", "../v/a.tar"),
        ("/srv/a.tar", "/m", "/srv/a.tar"),
        ("/m/a.tar", None, "/m/a.tar"),
    ],
)
def test_paths_are_relative_where_possible(path, folder, written):
    lock = Lock("a", SUM, (replace(APP, path=Path(path)),))
    raw = lock.to_bytes(folder and Path(folder))
    assert f"  archive: {written}\n" in raw.decode()
    assert Lock.parse(raw, HERE / "a.lock.yaml") == lock


def test_relative_paths_start_at_the_working_folder(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    lock = Lock("a", SUM, (replace(APP, path=Path("stacks/v/a.tar")),))
    assert b"  archive: v/a.tar\n" in lock.to_bytes(Path("stacks"))


@pytest.mark.parametrize(
    ("manifest", "lock"),
    [("stack.yaml", "stack.lock.yaml"), ("a/b.yml", "a/b.lock.yaml"), ("x.y.yaml", "x.y.lock.yaml"), ("m", "m.lock.yaml"), ("m.txt", "m.txt.lock.yaml")],
)  # fmt: skip
def test_where_it_stands(manifest, lock):
    assert lock_path(Path(manifest)) == Path(lock)


def test_no_two_images_of_one_name():
    with pytest.raises(
        FormatError, match=r"two images would have the same name offline: plant\.example/nginx:1\.27"
    ):
        Lock("a", SUM, (NGINX, APP, replace(NGINX, reference=ref("other"))))


BAD = {
    "a manifest": ("version: 1\nname: a\nplatforms: []\nimages: []", "unknown key: m.lock.yaml:3:1"),
    "unknown field": (TEXT.replace("  size:", "  sized:"), "unknown key: m.lock.yaml:14:3"),
    "no checksum": (TEXT.replace(f"manifest_sha256: '{SUM}'\n", ""), "missing key: m.lock.yaml:2:1, want 'manifest_sha256'"),
    "bad checksum": (TEXT.replace(SUM, "2"), "not a SHA-256: m.lock.yaml:4:18, want 64 lower-case hex digits, got '2'"),
    "other version": (TEXT.replace("version: 1", "version: 2"), "unsupported version: m.lock.yaml:2:10, want 1, got '2'"),
    "short form": (TEXT + "- nginx:1.27\n", "wrong type: m.lock.yaml:22:3, want a mapping, got 'nginx:1.27'"),
    "no name": (TEXT.replace("  as: plant.example/nginx:1.27\n", ""), "missing key: m.lock.yaml:6:3, want 'as'"),
    "no platforms": (TEXT.replace("  platforms: []\n", ""), "missing key: m.lock.yaml:16:3, want 'platforms'"),
    "bad digest": (TEXT.replace(D0, "sha256:0"), "not a digest: m.lock.yaml:12:11"),
    "no digest": (TEXT.replace(f"  digest: {D0}\n", ""), "incomplete descriptor: m.lock.yaml:6:3, want 'digest', 'media_type' and 'size' together"),
    "no size": (TEXT.replace("  size: 1234\n", ""), "incomplete descriptor: m.lock.yaml:6:3"),
    "nothing resolved": (TEXT.replace(f"  image_id: {D1}\n", ""), "image is not resolved: m.lock.yaml:16:3, want 'digest' or 'image_id'"),
    "negative size": (TEXT.replace("1234", "-1"), f"not a size: m.lock.yaml:14:9, want bytes, at most {MAX_BLOB_BYTES}, got '-1'"),
    "size with a fraction": (TEXT.replace("1234", "1.0"), "not a size: m.lock.yaml:14:9"),
    "huge size": (TEXT.replace("1234", "9" * 13), "not a size: m.lock.yaml:14:9"),
    "absurd size": (TEXT.replace("1234", "9" * 5000), "not a size: m.lock.yaml:14:9"),
    "bad media type": (TEXT.replace(OCI_INDEX, "index"), "not a media type: m.lock.yaml:13:15, want type/subtype, got 'index'"),
    "unknown source": (TEXT.replace("source: registry", "source: podman"), "not a source: m.lock.yaml:8:11"),
    "archive without a file": (TEXT.replace("  archive: vendor/app.tar\n", ""), "source and archive contradict each other: m.lock.yaml:16:3"),
    "file without an archive": (TEXT.replace("source: archive", "source: docker"), "source and archive contradict each other: m.lock.yaml:16:3"),
    "same name twice": (TEXT.replace("as: docker.io/acme/app:1.10", "as: plant.example/nginx:1.27"), "two images would have the same name offline: m.lock.yaml:16:3, got 'plant.example/nginx:1.27', as on line 6"),
    "unknown choice": (TEXT.replace("  size: 1234\n", "  size: 1234\n  attachments: maybe\n"), "not a choice: m.lock.yaml:15:16, want auto, none or required, got 'maybe'"),
    "reason of two lines": (TEXT.replace("  size: 1234\n", '  size: 1234\n  attachments_unknown: "a\\nb"\n'), "not a plain line of text: m.lock.yaml:15:24"),
    "bad subject": (TEXT.replace("  size: 1234\n", "  size: 1234\n  subject: sha256:0\n"), "not a digest: m.lock.yaml:15:12"),
    "anchor": (TEXT.replace("name: edge", "name: &n edge"), "YAML anchors and aliases are not allowed: m.lock.yaml:3:7"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_refused_with_the_place(case):
    text, message = BAD[case]
    with pytest.raises(FormatError) as caught:
        Lock.parse(text.encode(), Path("m.lock.yaml"))
    assert message in str(caught.value)


SMALL_CHARACTERS = ascii_lowercase + digits
TAG_CHARACTERS = ascii_letters + digits + "_"

words = st.text(SMALL_CHARACTERS, min_size=1, max_size=5)
digests = st.builds(Digest, st.just("sha256"), st.binary(min_size=32, max_size=32).map(bytes.hex))
references = st.builds(
    ImageReference,
    st.sampled_from(["docker.io", "localhost:5000", "Ghcr.example"]),
    st.tuples(words, words).map("/".join),
    st.tuples(st.sampled_from(TAG_CHARACTERS), st.text(TAG_CHARACTERS + ".-", max_size=9)).map("".join),
    st.none() | digests,
)
paths = st.text(SMALL_CHARACTERS + "é #:'-", min_size=1, max_size=9).map(
    lambda name: HERE / "v" / f"{name}.tar"
)
platforms = st.lists(st.sampled_from(["linux/amd64", "linux/arm/v6"]).map(Platform.parse), unique=True).map(
    tuple
)
printable = st.characters(codec="utf-8", exclude_categories=("C", "Z")) | st.just(" ")
lines = st.text(printable, min_size=1, max_size=50)
descriptors = st.builds(
    Descriptor, st.sampled_from([OCI_INDEX, OCI_MANIFEST]), digests, st.integers(0, MAX_BLOB_BYTES)
)


@st.composite
def images(draw):
    reference = draw(references)
    source = draw(st.sampled_from(["registry", "docker", "docker:ssh://u@h:22", "archive", "oci"]))
    descriptor = draw(st.none() | descriptors)
    return LockedImage(
        reference=reference,
        name=draw(references | st.just(offline_name(reference))),
        source=source,
        path=draw(paths) if source in ("archive", "oci") else None,
        platforms=draw(platforms),
        descriptor=descriptor,
        image_id=draw(digests if descriptor is None else st.none() | digests),
        cosign_key=draw(st.none() | paths),
        by_default=draw(st.booleans()),
        attachments=draw(st.sampled_from(AttachmentChoice)),
        attachments_unknown=draw(st.none() | lines),
        subject=draw(st.none() | digests),
    )


@settings(max_examples=100, deadline=None)
@given(st.lists(images(), max_size=4, unique_by=lambda image: image.name), st.sampled_from([None, HERE]))
def test_it_reads_back_whatever_it_holds(found, folder):
    lock = Lock("edge", SUM, tuple(found))
    raw = lock.to_bytes(folder)
    assert Lock.parse(raw, HERE / "edge.lock.yaml") == lock
    assert lock.to_bytes(folder) == raw


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(TEXT) - 1), st.text(max_size=3))
def test_a_damaged_lock_reads_or_is_a_format_error(place, text):
    raw = (TEXT[:place] + text + TEXT[place + 1 :]).encode()
    try:
        Lock.parse(raw, Path("m.lock.yaml"))
    except FormatError as error:
        assert str(error.subject).startswith("m.lock.yaml")  # noqa: PT017
