"""Compose projects of several files: overrides, `extends`, `include`, and files that lead outside."""

from pathlib import Path

import pytest

from airgap.discover.compose import read_compose
from airgap.discover.context import Context
from airgap.discover.sources import Sources
from tests.support.found import found_in, images, problems, write

BASE = "services: {a: {image: a:1, profiles: [x]}, b: {image: b:1}, c: {image: c:1}}"


def test_later_files_are_merged_on_top_and_can_reset(tmp_path: Path) -> None:
    above = "services: {a: {profiles: !reset []}, b: !reset null, c: !override {image: d:1}, e: {image: e:1}}"
    found = found_in(tmp_path, {"one.yaml": BASE, "two.yaml": above}, "one.yaml", "two.yaml")
    assert images(found) == ["a:1 sure", "d:1 sure", "e:1 sure"]


def test_a_list_is_overridden_where_the_tag_says_so(tmp_path: Path) -> None:
    above = "services: {a: {profiles: !override [y]}, b: {profiles: [z], image: }}"
    found = found_in(tmp_path, {"one.yaml": BASE, "two.yaml": above}, "one.yaml", "two.yaml")
    assert images(found) == ["a:1 sure [profile y]", "b:1 sure [profile z]", "c:1 sure"]


def test_services_extend_services_of_other_files(tmp_path: Path) -> None:
    files = {
        "compose.yaml": "services: {a: {extends: {service: b, file: sub/x.yaml}}}",
        "sub/x.yaml": "services: {b: {extends: {service: c, file: y.yaml}, command: z}}",
        "sub/y.yaml": "services: {c: {image: 'c:${V:-1}'}, d: {image: d:1}}",
    }
    found = found_in(tmp_path, files)
    assert images(found) == ["c:1 derived"]
    assert found.images[0].places[0].place.file == str(tmp_path / "sub" / "y.yaml")


def test_included_projects_have_their_own_folder_and_variables(tmp_path: Path) -> None:
    files = {
        "compose.yaml": (
            "include: [one/c.yaml, {path: [two/c.yaml, two/d.yaml], env_file: v.env, project_directory: .}]\n"
            "services: {m: {image: 'm:${V:-none}'}}"
        ),
        "v.env": "V=2\n",
        "one/c.yaml": "include: [d.yaml]\nservices: {o: {image: 'o:${V:-none}'}}",
        "one/d.yaml": "services: {p: {image: 'p:${V:-none}'}}",
        "one/.env": "V=1\n",
        "two/c.yaml": "services: {t: {image: 't:${V:-none}'}}",
        "two/d.yaml": "services: {t: {profiles: [x]}}",
    }
    want = ["m:none derived", "o:1 derived", "p:1 derived", "t:2 derived [profile x]"]
    assert images(found_in(tmp_path, files)) == want


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("include: [../outside.yaml]", "a file outside of the deployment's folder"),
        ("include: [/etc/hostname]", "a file outside of the deployment's folder"),
        ("include: [link.yaml]", "a file outside of the deployment's folder"),
        ("include: [{path: c.yaml, env_file: ../outside.env}]", "a file outside of the deployment's folder"),
        ("include: [none.yaml]", "cannot be read"),
        ("include: ['oci://docker.io/x/y']", "a file of another host, which is not fetched"),
        ("include: ['https://github.com/x/y.git#main']", "a file of another host, which is not fetched"),
        ("include: ['git@github.com:x/y.git']", "a file of another host, which is not fetched"),
        ("include: ['${WHERE}/c.yaml']", "a file that cannot be found: WHERE has no value"),
        ("include: [compose.yaml]", "a file that includes itself, or too many levels"),
        ("services: {x: {extends: {service: a, file: ../outside.yaml}, image: x:1}}", "a file outside of"),
        ("services: {x: {extends: {service: a, file: sub}, image: x:1}}", "cannot be read"),
    ],
)  # fmt: skip
def test_a_file_that_leads_outside_is_located_and_the_rest_is_read(
    tmp_path: Path, text: str, want: str
) -> None:
    top = tmp_path / "top"
    write(tmp_path, {"outside.yaml": "services: {a: {image: secret:1}}", "outside.env": "V=secret\n"})
    (top / "sub").mkdir(parents=True)
    (top / "link.yaml").symlink_to(tmp_path / "outside.yaml")
    files = {"compose.yaml": f"{text}\n---\nservices: {{web: {{image: web:1}}}}", "c.yaml": BASE}
    found = found_in(top, files, "compose.yaml")
    assert "web:1 sure" in images(found)
    assert not any("secret" in image for image in images(found))
    assert [line for line in problems(found, top) if want in line and " compose.yaml:1 " in f" {line} "]


def test_files_that_include_one_another_many_times_are_limited(tmp_path: Path) -> None:
    for number in range(12):
        names = ", ".join([f"{{path: f{number + 1}.yaml}}"] * 10)
        write(tmp_path, {f"f{number}.yaml": f"include: [{names}]\nservices: {{a: {{image: a:1}}}}"})
    write(tmp_path, {"f12.yaml": "services: {b: {image: b:1}}"})
    context = Context(sources=Sources([tmp_path]))
    read_compose([tmp_path / "f0.yaml"], context)
    assert any("included files" in problem.what for problem in context.findings.problems)
    assert images(context.findings.discovery())[0] == "a:1 sure"


def test_a_long_chain_of_extends_is_limited(tmp_path: Path) -> None:
    links = "\n".join(f"  s{n}: {{extends: s{n + 1}}}" for n in range(500))
    found = found_in(tmp_path, {"compose.yaml": f"services:\n{links}\n  s500: {{image: a:1}}\n"})
    assert images(found) == ["a:1 sure"]
    assert found.problems
