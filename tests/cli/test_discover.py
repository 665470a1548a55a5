"""`airgap discover`: the manifest that it writes, its exit codes, and the check of a manifest."""

import io
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.conftest import Side
from tests.support.found import write

COMPOSE = """services:
  web:
    image: nginx:1.27
  app:
    image: ghcr.io/acme/app:${VERSION:-2.1}
    platform: linux/arm64
  mail:
    image: mail:1
    profiles: [debug]
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a Compose file, which is the current one."""
    folder = tmp_path / "My_Shop"
    write(folder, {"compose.yaml": COMPOSE})
    monkeypatch.chdir(folder)
    return folder


def manifest(path: str = "stack.yaml") -> dict[str, Any]:
    value: dict[str, Any] = yaml.safe_load(Path(path).read_text())
    return value


def test_a_manifest_is_written_with_a_comment_for_each_image(fresh: Side, project: Path) -> None:
    done = fresh("discover", "compose.yaml", "-o", "stack.yaml")
    assert done.out == "2 images; 1 more that are optional or guesses\nwritten: stack.yaml\n"
    assert done.err == ""
    text = (project / "stack.yaml").read_text()
    _, _, rest = text.partition("\n")
    assert rest == (
        "version: 1\nname: my-shop\nimages:\n"
        "  # compose.yaml:3 service web: sure\n"
        "  - docker.io/library/nginx:1.27\n"
        "  # compose.yaml:5 service app: derived from ghcr.io/acme/app:${VERSION:-2.1}\n"
        "  - {ref: 'ghcr.io/acme/app:2.1', platforms: [linux/arm64]}\n"
        "  # compose.yaml:8 service mail: sure, profile debug\n"
        "  # not listed: does not run by default (profile debug)\n"
        "  # - docker.io/library/mail:1\n"
    )
    assert not fresh.home.exists()


def test_the_choices_of_a_person_are_used(fresh: Side, project: Path) -> None:
    words = ["--name", "shop", "--platform", "linux/amd64", "--all-profiles", "--var", "VERSION=3"]
    fresh("discover", ".", "-o", "stack.yaml", *words)
    value = manifest()
    assert (value["name"], value["platforms"], len(value["images"])) == ("shop", ["linux/amd64"], 3)
    assert value["images"][1]["ref"] == "ghcr.io/acme/app:3"


def test_the_environment_is_used_only_on_request(
    fresh: Side, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("VERSION", "9")
    assert "app:2.1" in fresh("discover", "compose.yaml").out
    assert "app:9" in fresh("discover", "compose.yaml", "--environment").out


def test_standard_input_is_read(fresh: Side, project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = io.TextIOWrapper(io.BytesIO(b"nginx:1\nredis:7 # cache\n"))
    monkeypatch.setattr(sys, "stdin", stdin)
    done = fresh("discover", "-", "--json").json
    assert [image["reference"] for image in done["images"]] == [
        "docker.io/library/nginx:1", "docker.io/library/redis:7",
    ]  # fmt: skip
    assert done["images"][1]["places"][0]["file"] == "standard input"


def test_a_problem_is_located_and_the_rest_is_written(fresh: Side, project: Path) -> None:
    write(project, {"compose.yaml": COMPOSE.replace(":-2.1", "")})
    done = fresh("discover", "compose.yaml", "-o", "stack.yaml", code=3)
    assert "problem: service app: 'ghcr.io/acme/app:' is not the name of an image" in done.err
    assert "compose.yaml:5" in done.err
    assert manifest()["images"] == ["docker.io/library/nginx:1.27"]
    assert (project / "stack.yaml").read_text().splitlines()[1].startswith("# problem: service app: ")
    problem = fresh("discover", "compose.yaml", "--json", code=3).json["problems"][0]
    assert (problem["file"], problem["line"], problem["severity"]) == ("compose.yaml", 5, "problem")


def test_a_manifest_that_was_edited_is_kept(fresh: Side, project: Path) -> None:
    words = ["discover", "compose.yaml", "-o", "stack.yaml"]
    fresh(*words)
    write(project, {"compose.yaml": COMPOSE.replace("1.27", "1.28")})
    fresh(*words)
    assert "1.28" in Path("stack.yaml").read_text()
    with Path("stack.yaml").open("a") as file:
        file.write("  - mine:1\n")
    done = fresh(*words, code=2)
    assert "the file exists: stack.yaml" in done.err
    assert "mine:1" in Path("stack.yaml").read_text()
    fresh(*words, "--force")
    assert "mine:1" not in Path("stack.yaml").read_text()


def test_guesses_are_listed_on_request(fresh: Side, project: Path) -> None:
    write(project, {"compose.yaml": "services: {a: {image: app, build: .}, b: {image: b:1}}"})
    fresh("discover", ".", "-o", "stack.yaml")
    assert manifest()["images"] == ["docker.io/library/b:1"]
    assert "  # - docker.io/library/app:latest" in Path("stack.yaml").read_text()
    fresh("discover", ".", "-o", "stack.yaml", "--guesses")
    assert len(manifest()["images"]) == 2


def test_the_check_compares_the_files_with_a_manifest(fresh: Side, project: Path) -> None:
    fresh("discover", "compose.yaml", "-o", "stack.yaml")
    done = fresh("discover", "--check", "stack.yaml", "compose.yaml")
    assert done.out == "stack.yaml carries all images that the files run\n"
    write(project, {"compose.yaml": COMPOSE.replace("nginx:1.27", "nginx:1.28")})
    done = fresh("discover", "--check", "stack.yaml", "compose.yaml", code=22)
    assert "nginx:1.28  sure       compose.yaml:3  service web" in done.out
    assert "note: no file names docker.io/library/nginx:1.27" in done.out
    assert "the manifest lacks images that the files run: stack.yaml, got 1 missing" in done.err
    value = fresh("discover", "--check", "stack.yaml", "compose.yaml", "--json", code=22).json
    assert value["check"]["missing"] == ["docker.io/library/nginx:1.28"]
    assert value["error"]["exit_code"] == 22


def test_the_check_knows_names_of_the_offline_side(fresh: Side, project: Path) -> None:
    text = (
        "version: 1\nname: x\nimages:\n  - {ref: other/nginx:1, as: nginx:1.27}\n  - ghcr.io/acme/app:2.1\n"
    )
    write(project, {"stack.yaml": text})
    fresh("discover", "--check", "stack.yaml", "compose.yaml")


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["none.yaml"], 10, "no such file or folder: none.yaml"),
        (["empty"], 4, "no image was found"),
        (["compose.yaml", "--var", "X"], 2, "--var needs a name and a value, want NAME=VALUE, got X"),
        (["compose.yaml", "--check", "x.yaml", "-o", "y.yaml"], 2, "--check writes nothing"),
        (["compose.yaml", "--check", "none.yaml"], 10, "no such file: none.yaml"),
        (["compose.yaml", "--platform", "amd46"], 10, "not a platform"),
        (["compose.yaml", "--name", "A B", "-o", "stack.yaml"], 10, "not a name"),
        (["prose.txt"], 3, "problem: of no kind that discover reads: prose.txt"),
        (["bad.yaml"], 3, "problem: not YAML, got "),
        (["compose.yaml", "--env-file", "none.env"], 3, "cannot be read: none.env"),
    ],
)
def test_bad_input_is_refused_or_located(
    fresh: Side, project: Path, words: list[str], code: int, message: str
) -> None:
    (project / "empty").mkdir()
    write(project, {"prose.txt": "This is prose.\nIt names none.\n", "bad.yaml": "services: [\n"})
    assert message in fresh("discover", *words, code=code).err
    assert not (project / "stack.yaml").exists()


def test_text_from_a_file_cannot_leave_its_comment(fresh: Side, project: Path) -> None:
    write(project, {"compose.yaml": 'services: {"a\\n  - evil:1\\n#": {image: "x:${N:-1}"}}'})
    fresh("discover", "compose.yaml", "-o", "stack.yaml")
    assert manifest()["images"] == ["docker.io/library/x:1"]
    assert "\n  - evil" not in Path("stack.yaml").read_text()
