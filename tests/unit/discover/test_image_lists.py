"""Text lists of images."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.discover.image_lists import is_image_list, is_mostly_images
from tests.support.found import found_in, images, problems

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("nginx\nredis:7", ["nginx:latest sure", "redis:7 sure"]),
        ("# all\n\n##web\nnginx:1 # web\n  redis:7  \r\n", ["nginx:1 sure", "redis:7 sure"]),
        (f"quay.io/a/b@{DIGEST}\n", [f"quay.io/a/b@{DIGEST} sure"]),
        ("image web ghcr.io/a/b:1\nimage db c/d:2", ["c/d:2 sure", "ghcr.io/a/b:1 sure"]),
        ("a.io/x/y:1=b.io/x/y:1", ["a.io/x/y:1 sure"]),
        ('- "nginx:1"\n- redis:7', ["nginx:1 sure", "redis:7 sure"]),
        ("docker://quay.io/a/b:1", ["quay.io/a/b:1 sure"]),
        ("nginx:1,\nhost:5000/a:2", ["host:5000/a:2 sure", "nginx:1 sure"]),
    ],
)
def test_lists_are_read(tmp_path: Path, text: str, want: list[str]) -> None:
    assert images(found_in(tmp_path, {"images.txt": text}, "images.txt")) == want


def test_the_span_is_that_of_the_name(tmp_path: Path) -> None:
    text = "# é\nimage web 'ghcr.io/a/b:1' # x\n"
    [image] = found_in(tmp_path, {"images.txt": text}, "images.txt").images
    span = image.places[0].place.span
    assert span is not None
    assert text[span.start : span.end] == "ghcr.io/a/b:1"


def test_a_line_without_an_image_is_located(tmp_path: Path) -> None:
    text = "a/b:1\nc/d:2\nNot An Image\ne/f:3\n{{ template }}:1\n"
    found = found_in(tmp_path, {"images.txt": text}, "images.txt")
    assert len(found.images) == 3
    assert [line.split()[1] for line in problems(found, tmp_path)] == ["images.txt:3", "images.txt:5"]


@pytest.mark.parametrize(
    ("text", "is_list", "is_strict"),
    [
        ("", False, False),
        ("# comment only\n", False, False),
        ("nginx\n", True, False),
        ("src/main.py\nsrc/lib.py\n", True, False),
        ("a/b:1\nc@" + DIGEST, True, True),
        ("a: 1\nb: 2\n", False, False),
        ("requests==2.1\n", False, False),
        ("This is prose.\nIt names nginx:1.27 once.\nAnd ends.", False, False),
    ],
)
def test_what_is_a_list(text: str, *, is_list: bool, is_strict: bool) -> None:
    assert is_image_list(text) is is_list
    assert is_image_list(text, is_strict=True) is is_strict


def test_other_text_files_of_a_folder_are_not_lists(tmp_path: Path) -> None:
    files = {"SOURCES.txt": "src/main.py\nsrc/lib.py\n", "images.txt": "nginx\n", "README.md": "a/b:1\n"}
    assert images(found_in(tmp_path, files)) == ["nginx:latest sure"]


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="ab/:@#-'\" \n\t,=", max_size=40))
def test_any_text_can_be_examined(text: str) -> None:
    is_image_list(text)
    is_mostly_images(text)
