"""Keys that only a reader which ignores case would take."""

import json
from typing import Any

import pytest

from airgap.errors import AmbiguousError
from airgap.oci.documents import ImageConfig, parse_document
from airgap.oci.spelling import LAYOUT, SAVED_IMAGES, check_spelling
from tests.support.images import make_index, simple_image

API = simple_image("api")
INDEX = make_index([API, simple_image("arm", platform="linux/arm64")])


def add(raw: bytes, key: str, *path: Any) -> bytes:
    """`raw` with `key` in the object at `path`."""
    value = json.loads(raw)
    inner = value
    for part in path:
        inner = inner[part]
    inner[key] = "x"
    return json.dumps(value, ensure_ascii=False).encode()


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("Subject", ()), ("Annotations", ()), ("Manifests", ()), ("fslayers", ()),
        ("\u017fubject", ()), ("ArtifactType", ()), ("SUBJECT", ()),
        ("URLS", ("layers", 0)), ("Data", ("layers", 0)), ("Platform", ("layers", 0)), ("url\u017f", ("layers", 0)),
        ("Annotations", ("config",)), ("artifacttype", ("config",)),
    ],
)  # fmt: skip
def test_a_manifest_with_a_key_in_another_case_is_refused(key: str, path: tuple[Any, ...]) -> None:
    with pytest.raises(AmbiguousError, match="differs from a defined one in case only"):
        parse_document(add(API.raw, key, *path), None, "manifest")


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("Platform", ("manifests", 0)),
        ("Variant", ("manifests", 0, "platform")),
        ("OS.Version", ("manifests", 0, "platform")),
    ],
)
def test_an_index_with_a_key_in_another_case_is_refused(key: str, path: tuple[Any, ...]) -> None:
    value = json.loads(INDEX.raw)
    value["manifests"][0].pop("platform") if key == "Platform" else None
    with pytest.raises(AmbiguousError, match=key):
        parse_document(add(json.dumps(value).encode(), key, *path), None, "index")


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("Variant", ()),
        ("Diff_Ids", ("rootfs",)),
        ("RootFS", ()),
        ("env", ("config",)),
        ("Created_By", ("history", 0)),
    ],
)
def test_a_config_with_a_key_in_another_case_is_refused(key: str, path: tuple[Any, ...]) -> None:
    assert API.config is not None
    value = json.loads(API.contents[API.config]) | {"history": [{}]}
    value.setdefault("config", {})
    if key == "RootFS":
        value[key] = value.pop("rootfs")
    with pytest.raises(AmbiguousError, match=key):
        ImageConfig.parse(add(json.dumps(value).encode(), key, *path))


def test_keys_of_the_author_s_own_are_left_alone() -> None:
    raw = add(add(API.raw, "x-custom"), "Mediatypes")
    value = json.loads(raw)
    value["annotations"] = {"Platform": "a", "platform": "b", "MEDIATYPE": "c"}
    assert parse_document(json.dumps(value).encode(), None, "manifest").media_type


def test_tables_of_archives_and_layouts_are_checked_too() -> None:
    with pytest.raises(AmbiguousError, match=r"images: images\[1\].*repotags"):
        check_spelling({"images": [{"Config": "a"}, {"repotags": []}]}, SAVED_IMAGES, "images")
    with pytest.raises(AmbiguousError, match="ImageLayoutVersion"):
        check_spelling({"ImageLayoutVersion": "1.0.0"}, LAYOUT, "oci-layout")
