"""Which Compose files belong together."""

from pathlib import Path

from airgap.discover.context import Choices
from tests.support.found import found_in, images, problems

WEB = "services: {web: {image: web:1}}"


def test_the_override_file_of_a_folder_is_used_and_variants_are_named(tmp_path: Path) -> None:
    files = {
        "compose.yaml": WEB,
        "compose.override.yaml": "services: {web: {image: web:2}, db: {image: db:1}}",
        "compose.prod.yaml": "services: {web: {image: web:3}}",
        "overrides/mail.yaml": "services: {mail: {image: mail:1}}",
        "demo/docker-compose.yml": "services: {demo: {image: demo:1}}",
    }
    found = found_in(tmp_path, files)
    assert images(found) == ["db:1 sure", "demo:1 sure", "web:2 sure"]
    [line] = problems(found, tmp_path)
    assert line.startswith("warning ")
    assert line.endswith("that are not read, got compose.prod.yaml, overrides/mail.yaml")


def test_compose_file_in_the_env_file_decides(tmp_path: Path) -> None:
    files = {
        ".env": "COMPOSE_FILE=a.yaml:sub/b.yaml\n",
        "compose.yaml": WEB,
        "a.yaml": "services: {a: {image: a:1}}",
        "sub/b.yaml": "services: {a: {image: a:2}, b: {image: b:1}}",
    }
    assert images(found_in(tmp_path, files)) == ["a:2 sure", "b:1 sure"]


def test_files_of_a_folder_without_a_main_file_are_projects_of_their_own(tmp_path: Path) -> None:
    files = {"one.yaml": WEB, "two.yaml": "services: {web: {image: web:2}}"}
    assert images(found_in(tmp_path, files)) == ["web:1 sure", "web:2 sure"]


def test_named_files_are_one_project_only_below_the_first(tmp_path: Path) -> None:
    files = {
        "a/compose.yaml": WEB,
        "a/more/tls.yaml": "services: {web: {image: web:2}}",
        "b/compose.yaml": "services: {web: {image: web:3}}",
    }
    assert images(found_in(tmp_path, files, *files)) == ["web:2 sure", "web:3 sure"]


def test_an_override_file_that_is_not_named_is_a_warning(tmp_path: Path) -> None:
    files = {"compose.yaml": WEB, "compose.override.yaml": "services: {web: {image: web:2}}"}
    found = found_in(tmp_path, files, "compose.yaml")
    assert images(found) == ["web:1 sure"]
    assert [line.partition(" ")[0] for line in problems(found, tmp_path)] == ["warning"]


def test_env_files_of_a_person_replace_the_env_file(tmp_path: Path) -> None:
    files = {
        ".env": "V=1\n",
        "example.env": "W=2\n",
        "compose.yaml": "services: {a: {image: 'a:${V:-0}${W:-0}'}}",
    }
    choices = Choices(env_files=[tmp_path / "example.env"])
    assert images(found_in(tmp_path, files, choices=choices)) == ["a:02 derived"]
