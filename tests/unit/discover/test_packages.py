"""Lists of other tools, and airgap's own manifest."""

from pathlib import Path

import pytest

from airgap.discover.context import Choices
from tests.support.found import found_in, images, problems

ZARF = """kind: ZarfPackageConfig
components:
  - name: web
    images: [nginx:1, "###ZARF_PKG_TMPL_IMAGE###:2"]
"""


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (
            "apiVersion: content.hauler.cattle.io/v1\nkind: Images\nspec: {images: [{name: a:1}, {name: b/c:2}]}",
            ["a:1 sure", "b/c:2 sure"],
        ),
        ("kind: ImagesLock\nimages: [{image: a:1}]", ["a:1 sure"]),
        ("kind: ImageSetConfiguration\nmirror: {additionalImages: [{name: a:1}]}", ["a:1 sure"]),
        ("version: 1\nname: x\nimages: [a:1, {ref: b:1, source: docker}]", ["a:1 sure", "b:1 sure"]),
    ],
)
def test_lists_of_other_tools_are_read(tmp_path: Path, text: str, want: list[str]) -> None:
    assert images(found_in(tmp_path, {"list.yaml": text})) == want


def test_the_platform_of_a_hauler_image_is_kept(tmp_path: Path) -> None:
    text = "apiVersion: content.hauler.cattle.io/v1\nkind: Images\nspec: {images: [{name: a, platform: linux/amd64}]}"
    [image] = found_in(tmp_path, {"list.yaml": text}).images
    assert [str(platform) for platform in image.platforms] == ["linux/amd64"]


def test_a_zarf_template_needs_a_variable(tmp_path: Path) -> None:
    found = found_in(tmp_path, {"zarf.yaml": ZARF})
    assert images(found) == ["nginx:1 sure"]
    [line] = problems(found, tmp_path)
    assert line.startswith("problem zarf.yaml:4 component web: the name of the image cannot be resolved")
    chosen = found_in(tmp_path, {"zarf.yaml": ZARF}, choices=Choices(variables={"IMAGE": "redis"}))
    assert images(chosen) == ["nginx:1 sure", "redis:2 derived"]


@pytest.mark.parametrize(
    "text",
    [
        "apiVersion: content.hauler.cattle.io/v1\nkind: Charts\nspec: {charts: [{name: x}]}",
        "kind: ImageSetConfiguration\nmirror: {operators: [{catalog: x}]}",
        "version: 1\nname: x\nimages: [{archive: x.tar}]",
    ],
)
def test_what_is_not_an_image_is_a_warning(tmp_path: Path, text: str) -> None:
    found = found_in(tmp_path, {"list.yaml": text})
    assert [line.split(":")[0] for line in problems(found, tmp_path)] == ["warning list.yaml"]
