"""Images are found once, with all their places, and only under names that an image can have."""

import pytest

from airgap.discover.findings import Certainty, Findings, Place, Severity
from airgap.manifest.platform_text import parse_platform


def at(line: int) -> Place:
    return Place(file="f.yaml", line=line)


def test_spellings_of_one_image_are_one_image_with_all_places() -> None:
    findings = Findings()
    for line, name in enumerate(
        ["postgres", "docker.io/postgres:latest", "index.docker.io/library/postgres"]
    ):
        findings.add_image(name, at(line), certainty=Certainty.SURE, user="service db")
    [image] = findings.discovery().images
    assert str(image.reference) == "docker.io/library/postgres:latest"
    assert [found.place.line for found in image.places] == [0, 1, 2]


def test_the_best_place_decides() -> None:
    findings = Findings()
    findings.add_image("a/b:1", at(1), certainty=Certainty.GUESS, user="ConfigMap x")
    findings.add_image("a/b:1", at(2), certainty=Certainty.SURE, user="service b", optional="profile p")
    findings.add_image("a/b:1", at(3), certainty=Certainty.DERIVED, user="service c")
    [image] = findings.discovery().images
    assert (image.certainty, image.optional) == (Certainty.DERIVED, None)


def test_a_place_without_a_platform_runs_on_any() -> None:
    findings = Findings()
    arm = parse_platform("linux/arm64")
    findings.add_image("a:1", at(1), certainty=Certainty.SURE, user="service a", platforms=[arm])
    assert findings.discovery().images[0].platforms == (arm,)
    findings.add_image("a:1", at(2), certainty=Certainty.SURE, user="service b")
    assert findings.discovery().images[0].platforms == ()


@pytest.mark.parametrize(
    "name",
    ["", " ", "frappe/erpnext:", ":", "a/UPPER", "*:*", "!*:latest", "{{ .Values.image }}", "${X}:1",
     "###ZARF_PKG_TMPL_X###", "http://x/y", "a b", "a@sha256:12", "-x", "x:" + "t" * 200, "\x1b[2Jx"],
)  # fmt: skip
def test_a_name_that_no_image_has_is_a_problem_and_a_guess_is_dropped(name: str) -> None:
    findings = Findings()
    findings.add_image(name, at(7), certainty=Certainty.SURE, user="service web")
    findings.add_image(name, at(7), certainty=Certainty.GUESS, user="service web")
    assert findings.images == []
    [problem] = findings.discovery().problems
    assert (problem.place.line, problem.severity) == (7, Severity.PROBLEM)
    assert problem.text.startswith("service web: ")


def test_one_problem_of_several_services_is_reported_once() -> None:
    findings = Findings()
    for name in "abcde":
        findings.add_problem(at(5), "no name", user=f"service {name}")
    [problem] = findings.discovery().problems
    assert str(problem) == "service a, service b, service c and 2 more: no name: f.yaml:5"


def test_an_image_that_was_built_on_a_machine_is_a_warning() -> None:
    findings = Findings()
    findings.add_image("localhost/x:1", at(1), certainty=Certainty.SURE, user="container x")
    findings.add_image("localhost:5000/x:1", at(1), certainty=Certainty.SURE, user="container y")
    assert [problem.severity for problem in findings.problems] == [Severity.WARNING]
    assert [str(found.reference) for found in findings.images] == ["localhost:5000/x:1"]
