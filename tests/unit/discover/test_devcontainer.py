"""Development containers: JSON with comments."""

from pathlib import Path

import pytest

from tests.support.found import found_in, images, problems

NAME = ".devcontainer/devcontainer.json"


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ('{"image": "a/b:1"}', ["a/b:1 sure"]),
        (
            '// top\n{\n\t/* x: {\n */ "image": "a/b:1", // "image": "c:1"\n\t"x": ["http://y", ],\n}',
            ["a/b:1 sure"],
        ),
        ('{"dockerComposeFile": "c.yml", "service": "app"}', ["db:1 sure"]),
        ('{"dockerComposeFile": ["c.yml", "../d.yml"]}', ["db:2 sure"]),
        ('{"features": {"ghcr.io/devcontainers/features/go:1": {}}, "image": "a:1"}', ["a:1 sure"]),
    ],
)
def test_the_image_or_the_compose_files_are_read(tmp_path: Path, text: str, want: list[str]) -> None:
    files = {
        NAME: text,
        ".devcontainer/c.yml": "services: {db: {image: db:1}}",
        "d.yml": "services: {db: {image: db:2}}",
    }
    assert images(found_in(tmp_path, files, NAME)) == want


def test_the_compose_files_of_a_folder_are_read_once(tmp_path: Path) -> None:
    files = {
        NAME: '{"dockerComposeFile": ["docker-compose.yml", "extra.yml"]}',
        ".devcontainer/docker-compose.yml": "services: {db: {image: db:1}}",
        ".devcontainer/extra.yml": "services: {db: {image: db:2}}",
    }
    assert images(found_in(tmp_path, files)) == ["db:2 sure"]


def test_a_build_is_a_warning_and_text_that_is_not_json_a_problem(tmp_path: Path) -> None:
    found = found_in(tmp_path, {NAME: '{"build": {"dockerfile": "Dockerfile"}}'}, NAME)
    assert [line.split(":")[0] for line in problems(found, tmp_path)] == [f"warning {NAME}"]
    found = found_in(tmp_path, {NAME: '{"image": [}'}, NAME)
    assert [line.split(":")[0] for line in problems(found, tmp_path)] == [f"problem {NAME}"]
