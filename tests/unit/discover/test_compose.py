"""The images of Compose files: which run, under which name, and how sure that is."""

from pathlib import Path

import pytest

from airgap.discover.context import Choices
from tests.support.found import found_in, images, problems

ARM = "services: {a: {image: a:1, platform: linux/arm64}}"


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("services: {a: {image: nginx}}", ["nginx:latest sure"]),
        ("services: {a: {image: 'nginx:${TAG:-1.27}'}}", ["nginx:1.27 derived"]),
        ("services: {a: {image: 'x$$y', build: .}, b: {image: b:1}}", ["b:1 sure"]),
        ("services: {a: {image: a:1, profiles: [dev]}, b: {image: b:1}}", ["a:1 sure [profile dev]", "b:1 sure"]),
        ("services: {a: {image: a:1, profiles: ['', dev]}}", ["a:1 sure"]),
        ("services: {a: {image: x/app:1, build: .}}", ["x/app:1 derived"]),
        ("services: {a: {image: app, build: .}, b: {image: app}}", ["app:latest guess"]),
        ("services: {a: {image: x/app:1, build: ., pull_policy: build}, b: {image: b:1}}", ["b:1 sure"]),
        ("services: {a: {image: a:1, pull_policy: never}}", ["a:1 sure"]),
        ("x-i: &i {image: i:1}\nservices: {a: {<<: *i}, b: {<<: *i, image: b:1}}", ["b:1 sure", "i:1 sure"]),
        ("x-i: {image: i:1}\nservices: {a: {image: a:1, x-image: c:1}}", ["a:1 sure"]),
        (
            "services: {a: {image: a:1, volumes: [{type: image, source: v:1, target: /v}, ./x:/y]}}",
            ["a:1 sure", "v:1 sure"],
        ),
        ("services: {a: {image: a:1, pre_start: [{image: hook:1, command: x}]}}", ["a:1 sure", "hook:1 sure"]),
        (
            "services: {a: {image: a:1, environment: [SANDBOX_IMAGE=b/c:1, PORT=80, MODE=x:y]}}",
            ["a:1 sure", "b/c:1 guess"],
        ),
        (
            "services: {a: {image: a:1, environment: {RUNNER: '${V:-ghcr.io/b/c:1}', LEVEL: info}}}",
            ["a:1 sure", "ghcr.io/b/c:1 guess"],
        ),
        (
            "services: {a: {image: a:1, command: [--job-image, b/c:2, --x-image=d/e:3, f:4]}}",
            ["a:1 sure", "b/c:2 guess", "d/e:3 guess"],
        ),
        ("services: {a: {extends: b, command: x}, b: {image: b:1}}", ["b:1 sure"]),
        ("services: {a: {image: a:1}}\n---\nservices: {a: {image: a:2}}", ["a:2 sure"]),
    ],
)  # fmt: skip
def test_services_are_read(tmp_path: Path, text: str, want: list[str]) -> None:
    assert images(found_in(tmp_path, {"compose.yaml": text})) == want


def test_the_place_is_that_of_the_text_and_platforms_are_kept(tmp_path: Path) -> None:
    [image] = found_in(tmp_path, {"compose.yaml": "x-i: &i web:1\nservices:\n  a: {image: *i}\n"}).images
    [found] = image.places
    assert (found.place.line, found.user, found.written) == (1, "service a", "web:1")
    assert found.place.span is not None
    [image] = found_in(tmp_path, {"compose.yaml": ARM}).images
    assert [str(platform) for platform in image.platforms] == ["linux/arm64"]


@pytest.mark.parametrize(
    ("text", "want"),
    [
        (
            "services:\n  a: {image: 'erp:${TAG}'}\n  b: {image: 'erp:${TAG}'}",
            [
                "problem compose.yaml:2 service a: 'erp:' is not the name of an image, because TAG has no value",
                "problem compose.yaml:3 service b: 'erp:' is not the name of an image, because TAG has no value",
            ],
        ),
        (
            "services: {a: {image: 'erp${TAG}', profiles: [x]}}",
            ["warning compose.yaml:1 service a: TAG has no value, so the image is erp"],
        ),
        (
            "services: {a: {image: 'erp:${TAG:?set it}'}}",
            [
                (
                    "problem compose.yaml:1 service a: 'erp:${TAG:?set it}' cannot be resolved: "
                    "the required variable TAG has no value: set it"
                )
            ],
        ),
        ("services: {a: {image: a:1, environment: {X: '${NONE:?no}'}}}", []),
        (
            "services: {a: {build: .}}",
            ["warning compose.yaml:1 service a: built from its source, and has no image to carry"],
        ),
        (
            "services: {a: {image: x/app:1, build: ., pull_policy: build}}",
            ["warning compose.yaml:1 service a: its image is built from its source, and never pulled"],
        ),
        (
            "services: {a: {command: x}, b: {image: b:1}}",
            ["problem compose.yaml:1 service a: neither image nor build in these files"],
        ),
        (
            "services: {a: {extends: a}}",
            ["problem compose.yaml:1 service a extends itself"],
        ),
        (
            "services: {a: {extends: b, image: a:1}}",
            ["problem compose.yaml:1 service a extends the service 'b', which is not there"],
        ),
        (
            "services: {a: {image: '!*:latest'}}",
            ["problem compose.yaml:1 service a: not an image reference (repository name), got '!*:latest'"],
        ),
        (
            "services: {a: {image: a:1, platform: amd46}}",
            ["warning compose.yaml:1 service a: not a platform, got 'amd46'"],
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_carried_is_located(tmp_path: Path, text: str, want: list[str]) -> None:
    discovery = found_in(tmp_path, {"compose.yaml": text})
    assert [line.replace(", got 'erp'", "") for line in problems(discovery, tmp_path)] == want


def test_profiles_can_be_chosen(tmp_path: Path) -> None:
    files = {
        "compose.yaml": "services: {a: {image: a:1, profiles: [x]}, b: {image: b:1, profiles: [y]}}",
        ".env": "COMPOSE_PROFILES=x, z\n",
    }
    assert images(found_in(tmp_path, files)) == ["a:1 sure", "b:1 sure [profile y]"]
    chosen = found_in(tmp_path, files, choices=Choices(profiles=["y"]))
    assert images(chosen) == ["a:1 sure [profile x]", "b:1 sure"]
    assert images(found_in(tmp_path, files, choices=Choices(profiles=["*"]))) == ["a:1 sure", "b:1 sure"]


def test_variables_of_a_person_have_precedence_over_files(tmp_path: Path) -> None:
    files = {
        "compose.yaml": "services: {a: {image: 'a:${V:-0}'}}",
        ".env": "V=1\n",
        "other.env": "V=2\n",
    }
    assert images(found_in(tmp_path, files)) == ["a:1 derived"]
    other = Choices(env_files=[tmp_path / "other.env"])
    assert images(found_in(tmp_path, files, choices=other)) == ["a:2 derived"]
    both = Choices(env_files=[tmp_path / "other.env"], variables={"V": "3"})
    assert images(found_in(tmp_path, files, choices=both)) == ["a:3 derived"]
