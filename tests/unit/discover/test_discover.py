"""Files and folders: what each is, which are read, and what hostile ones cannot do."""

from pathlib import Path

import pytest

from airgap.discover import discover as module
from airgap.discover import findings, folders
from airgap.discover.discover import discover, root_of
from airgap.errors import FormatError
from airgap.limits import MAX_DEPLOYMENT_FILE_BYTES
from tests.support.found import found_in, images, problems, write

POD = "apiVersion: v1\nkind: Pod\nmetadata: {name: p}\nspec: {containers: [{name: c, image: 'pod:1'}]}\n"
CHART = {
    "c/Chart.yaml": "apiVersion: v2\nname: c\nversion: 1.0.0\n",
    "c/templates/x.yaml": "image: {{ .Values.image }}\n",
}


def test_a_folder_is_read_file_by_file(tmp_path: Path) -> None:
    files = {
        "a/pod.yaml": POD,
        "a/list.json": POD.replace("pod:1", "pod:2"),
        "b/images.txt": "list:1\n",
        "b/config.yaml": "image: not-an-image:1\n",
        "b/notes.txt": "a/b\n",
        ".git/pod.yaml": POD.replace("pod:1", "git:1"),
        ".hidden.yaml": POD.replace("pod:1", "hidden:1"),
        "node_modules/x/pod.yaml": POD.replace("pod:1", "node:1"),
    }
    found = found_in(tmp_path, files)
    assert images(found) == ["list:1 sure", "pod:1 sure", "pod:2 sure"]
    assert problems(found, tmp_path) == []


def test_templates_of_a_chart_are_not_read_as_files(tmp_path: Path) -> None:
    found = found_in(tmp_path, CHART)
    assert not [line for line in problems(found, tmp_path) if "x.yaml" in line and "not YAML" in line]


def test_a_bad_document_does_not_hide_the_others(tmp_path: Path) -> None:
    found = found_in(tmp_path, {"a.yaml": f"kind: [\n---\n{POD}"}, "a.yaml")
    assert images(found) == ["pod:1 sure"]
    assert [line.split()[0] for line in problems(found, tmp_path)] == ["problem"]


def test_a_file_of_no_known_kind_is_a_problem_only_if_it_is_named(tmp_path: Path) -> None:
    files = {"a.yaml": "x: 1\n", "pod.yaml": POD}
    assert problems(found_in(tmp_path, files), tmp_path) == []
    assert problems(found_in(tmp_path, files, "a.yaml"), tmp_path) == [
        "problem a.yaml of no kind that discover reads"
    ]


def test_links_out_of_the_folder_are_not_followed(tmp_path: Path) -> None:
    write(tmp_path, {"out/pod.yaml": POD, "out/compose.yaml": "services: {a: {image: secret:1}}"})
    top = tmp_path / "top"
    top.mkdir()
    (top / "folder").symlink_to(tmp_path / "out")
    (top / "pod.yaml").symlink_to(tmp_path / "out" / "pod.yaml")
    (top / "loop").symlink_to(top)
    (top / "loop.yaml").symlink_to("loop.yaml")
    found = discover([top], root=top)
    assert found.images == ()
    assert [line.split()[1] for line in problems(found, top)] == ["loop.yaml", "pod.yaml"]


def test_a_named_link_is_read(tmp_path: Path) -> None:
    write(tmp_path, {"out/pod.yaml": POD})
    (tmp_path / "top").mkdir()
    (tmp_path / "top" / "pod.yaml").symlink_to(tmp_path / "out" / "pod.yaml")
    assert images(discover([tmp_path / "top" / "pod.yaml"], root=tmp_path / "top")) == ["pod:1 sure"]


def test_a_large_file_is_a_problem_and_the_rest_is_read(tmp_path: Path) -> None:
    write(tmp_path, {"pod.yaml": POD})
    with (tmp_path / "large.yaml").open("wb") as file:
        file.truncate(MAX_DEPLOYMENT_FILE_BYTES + 1)
    with (tmp_path / "large.txt").open("wb") as file:
        file.truncate(MAX_DEPLOYMENT_FILE_BYTES + 1)
    found = discover([tmp_path])
    assert images(found) == ["pod:1 sure"]
    assert problems(found, tmp_path) == ["problem large.yaml too large"]


def test_names_of_files_are_only_shown(tmp_path: Path) -> None:
    name = "a\n  - evil:1\x1b[2J.yaml"
    found = found_in(tmp_path, {name: POD})
    assert images(found) == ["pod:1 sure"]


def test_the_number_of_files_images_and_problems_is_limited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "MAX_DEPLOYMENT_FILES", 3)
    write(tmp_path, {f"{number}/pod.yaml": POD for number in range(5)})
    found = discover([tmp_path])
    assert [line for line in problems(found, tmp_path) if "too many files" in line]
    monkeypatch.setattr(findings, "MAX_FOUND_PLACES", 2)
    monkeypatch.setattr(findings, "MAX_FOUND_PROBLEMS", 1)
    found = found_in(tmp_path, {"images.txt": "a:1\nb:1\nc:1\nd:1\ne:1\n"}, "images.txt")
    assert len(found.images) == 2
    assert [problem.what.partition(",")[0] for problem in found.problems] == [
        "too many images", "more than 1 problems; the others are not shown",
    ]  # fmt: skip


def test_the_root_is_the_repository_or_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, {"repo/.git/HEAD": "", "repo/deploy/pod.yaml": POD, "plain/deploy/pod.yaml": POD})
    monkeypatch.chdir(tmp_path / "repo" / "deploy")
    assert root_of(Path("pod.yaml")) == tmp_path / "repo"
    monkeypatch.chdir(tmp_path / "plain")
    assert root_of(Path("deploy/pod.yaml")) == tmp_path / "plain"
    assert root_of(tmp_path / "repo" / "deploy") == tmp_path / "repo"
    monkeypatch.chdir("/")
    assert root_of(tmp_path / "plain" / "deploy") == tmp_path / "plain" / "deploy"


def test_a_path_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="no such file or folder"):
        module.discover([tmp_path / "none"])
