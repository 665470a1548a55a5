"""Names in the index of an OCI folder."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airgap.endpoints.layout import Layout
from airgap.endpoints.naming import EMPTY_INDEX, Lookup, index_entries, with_entries
from airgap.errors import (
    AirgapError,
    AmbiguousError,
    FormatError,
    NotFoundError,
)
from airgap.oci.digest import Digest
from airgap.oci.documents import CONTAINERD_NAME, REF_NAME
from airgap.oci.reference import ImageReference
from tests.support.images import make_index
from tests.unit.endpoints.layout_support import (
    API,
    BAD_INDEXES,
    IMAGE,
    OTHER,
    blob_of,
    entry,
    index_of,
    named,
)

# --- names


@pytest.mark.parametrize(
    ("annotations", "reference"),
    [
        ({REF_NAME: "ghcr.io/acme/api:2.3"}, "ghcr.io/acme/api:2.3"),
        ({CONTAINERD_NAME: "ghcr.io/acme/api:2.3", REF_NAME: "2.3"}, "ghcr.io/acme/api:2.3"),
        ({CONTAINERD_NAME: "docker.io/library/nginx:1.27", REF_NAME: "nginx:1.27"}, "nginx:1.27"),
        ({REF_NAME: f"ghcr.io/acme/api:2.3@{IMAGE.descriptor.digest}"}, "ghcr.io/acme/api:2.3"),
        ({REF_NAME: "1.27"}, "docker.io/library/nginx:1.27"),
        ({}, f"ghcr.io/acme/api@{IMAGE.descriptor.digest}"),
        ({REF_NAME: "elsewhere/thing:1"}, f"ghcr.io/acme/api:2.3@{IMAGE.descriptor.digest}"),
    ],
    ids=["full", "containerd", "short", "with digest", "tag only", "no name", "digest before name"],
)
def test_resolve_finds(folder: Path, annotations: dict[str, str], reference: str):
    (folder / "index.json").write_bytes(index_of(entry(IMAGE, **annotations), named("x/y:z", OTHER)))
    assert Layout(folder).resolve(ImageReference.parse(reference)).digest == IMAGE.descriptor.digest


@pytest.mark.parametrize(
    ("entries", "reference"),
    [
        ([named("ghcr.io/acme/api:2.3")], "ghcr.io/acme/api:2.4"),
        ([named("ghcr.io/acme/api:2.3")], "quay.io/acme/api:2.3"),
        ([named("2.3"), named("2.3", OTHER)], "ghcr.io/acme/api:2.3"),
        ([named("latest")], "docker.io/library/latest:1"),
        ([named("ghcr.io/acme/api:2.3")], f"ghcr.io/acme/api:2.3@{OTHER.descriptor.digest}"),
        ([named("no name / at all: really")], "ghcr.io/acme/api:2.3"),
        ([named(f"ghcr.io/acme/api:2.3@{OTHER.descriptor.digest}")], "ghcr.io/acme/api:2.3"),
        ([named("x/y:1", make_index([IMAGE]))], f"x/y@{IMAGE.descriptor.digest}"),
        ([], "ghcr.io/acme/api:2.3"),
    ],
    ids=["tag", "registry", "tag twice", "tag is no name", "digest", "free text", "lie", "nested", "empty"],
)
def test_resolve_refuses(folder: Path, entries: list[dict[str, object]], reference: str):
    (folder / "index.json").write_bytes(index_of(*entries))
    with pytest.raises(NotFoundError, match="no such image in oci:"):
        Layout(folder).resolve(ImageReference.parse(reference))


def test_a_full_name_goes_before_a_bare_tag(folder: Path):
    (folder / "index.json").write_bytes(index_of(named("2.3", OTHER), named(str(API))))
    assert Layout(folder).resolve(API).digest == IMAGE.descriptor.digest


def test_names_lists_full_names_once(folder: Path):
    entries = [named(str(API)), named("latest"), entry(OTHER), named("nginx:1", OTHER), named(str(API))]
    (folder / "index.json").write_bytes(index_of(*entries))
    assert Layout(folder).names() == [API, ImageReference.parse("nginx:1")]


@pytest.mark.parametrize(("raw", "kind"), BAD_INDEXES.values(), ids=BAD_INDEXES)
def test_bad_index(folder: Path, raw: bytes, kind: type[AirgapError]):
    (folder / "index.json").write_bytes(raw)
    with pytest.raises(kind):
        Layout(folder).resolve(API)


def test_one_name_in_two_spellings_is_one(folder: Path):
    twin = named(f"GHCR.io:443/{API.repository}:{API.tag}", OTHER)
    (folder / "index.json").write_bytes(index_of(named(str(API)), twin))
    layout = Layout(folder)
    with pytest.raises(AmbiguousError, match="two images have the same name"):
        layout.find(API)
    layout.tag(API, IMAGE.descriptor, IMAGE.raw)
    assert (layout.names(), layout.find(API)) == ([API], IMAGE.descriptor.digest)


@pytest.mark.parametrize("case", [case for case in BAD_INDEXES if case != "one name twice"])
def test_tag_leaves_a_bad_index_alone(folder: Path, case: str):
    raw, kind = BAD_INDEXES[case]
    (folder / "index.json").write_bytes(raw)
    with pytest.raises(kind):
        Layout(folder).tag(API, IMAGE.descriptor, IMAGE.raw)
    assert (folder / "index.json").read_bytes() == raw


@pytest.mark.parametrize(
    "raw", [b"", b"{}", b'{"imageLayoutVersion":"2.0.0"}', b'{"imageLayoutVersion":1}'],
    ids=["empty", "no version", "newer", "number"],
)  # fmt: skip
def test_bad_marker(folder: Path, raw: bytes):
    (folder / "oci-layout").write_bytes(raw)
    for attempt in (
        lambda: Layout(folder).names(),
        lambda: Layout(folder).put_document(API, blob_of(b""), b""),
    ):
        with pytest.raises(FormatError):
            attempt()


@pytest.mark.parametrize("missing", ["oci-layout", "index.json"])
def test_no_layout(folder: Path, missing: str):
    (folder / missing).unlink()
    with pytest.raises(NotFoundError, match=missing):
        Layout(folder).resolve(API)
    assert Layout(folder).find(API) is None


# --- properties

texts = st.one_of(
    st.text(max_size=30),
    st.from_regex(r"[a-z]{1,4}(\.[a-z]{2})?(/[a-z]{1,4}){0,2}(:[a-z0-9]{1,3})?", fullmatch=True),
)


def says(text: str, reference: ImageReference) -> bool:
    """Whether an annotation names this image: in full, or by its tag alone."""
    try:
        return text == reference.tag or ImageReference.parse(text) == reference
    except FormatError:
        return False


@given(st.lists(st.tuples(texts, texts, st.sampled_from([IMAGE, OTHER])), min_size=1, max_size=4), st.data())
def test_an_image_is_found_only_by_what_its_annotations_say(entries, data: st.DataObject):
    wanted = data.draw(st.sampled_from([text for ref, name, _ in entries for text in (ref, name)]) | texts)
    raw = [entry(image, **{REF_NAME: ref, CONTAINERD_NAME: name}) for ref, name, image in entries]
    try:
        reference = ImageReference.parse(wanted)
        found = Lookup(index_entries(index_of(*raw), "index.json"))
    except FormatError:
        return
    images = {
        i.descriptor.digest for ref, name, i in entries if says(ref, reference) or says(name, reference)
    }
    for image in (*found.by_name(reference), *found.by_tag(reference)):
        assert image.descriptor.digest in images


@given(st.lists(st.sampled_from(["a/b:1", "a/b:2", "c:1", f"d@{IMAGE.descriptor.digest}"]), max_size=8))
def test_each_name_means_what_was_tagged_last(names: list[str]):
    raw = EMPTY_INDEX
    last: dict[ImageReference, Digest] = {}
    for i, name in enumerate(names):
        image = (IMAGE, OTHER)[i % 2]
        reference = ImageReference.parse(name)
        raw = with_entries(raw, "index.json", {reference: image.descriptor})
        if reference.tag:
            last[reference] = image.descriptor.digest
    entries = index_entries(raw, "index.json")
    assert {n: e.descriptor.digest for e in entries for n in e.names if n.tag} == last
    nameless = [e.descriptor.digest for e in entries if not any(name.tag for name in e.names)]
    assert len(nameless) == len(set(nameless))


@given(st.binary(max_size=200))
def test_any_bytes_are_an_index_or_refused(raw: bytes):
    try:
        index_entries(raw, "index.json")
    except FormatError:
        return


def test_only_the_entries_of_that_name_are_removed(folder: Path):
    others = [named("ghcr.io/acme/api:2.4", OTHER), named("2.3", OTHER), named("quay.io/acme/api:2.3")]
    (folder / "index.json").write_bytes(index_of(named("ghcr.io/acme/api:2.3"), *others))
    Layout(folder).remove_name(ImageReference.parse("GHCR.io:443/acme/api:2.3"), IMAGE.descriptor.digest)
    assert json.loads((folder / "index.json").read_text())["manifests"] == others
    with pytest.raises(NotFoundError):
        Layout(folder / "absent").remove_name(API, IMAGE.descriptor.digest)
