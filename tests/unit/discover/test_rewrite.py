"""Copies of deployment files have the names of the offline side, and differ in nothing else."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.discover.context import Choices
from airgap.discover.discover import discover
from airgap.discover.findings import Discovery
from airgap.discover.node_texts import replaced_source, same_except
from airgap.discover.rewrite import STDIN_NAME, Rewriting, rewrite
from airgap.discover.sources import STDIN
from airgap.manifest.yaml_nodes import parse_nodes
from airgap.oci.reference import ImageReference
from tests.support.found import found_in, write

NEW = "off.example/new:1@sha256:" + "a" * 64


def name_new(reference: ImageReference) -> str | None:
    """Name all images `NEW`, except those of a registry that is not carried."""
    return None if reference.registry == "absent.example" else NEW


def rewritten(folder: Path, text: str | bytes, name: str = "compose.yaml") -> Rewriting:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return rewrite(discover([path], root=folder), name_new)


def shown(result: Rewriting) -> list[str]:
    return [problem.what for problem in result.problems]


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("# é 𝄞\nservices:\n  b: {image: [[a:1]]}  # why\n  a:\n    image: [[a:2]]\n", id="flow-and-block"),
        pytest.param("services:\r\n  a:\r\n    image: [[a:1]]\r\n    # kept\r\n", id="crlf"),
        pytest.param("\ufeffservices:\n  a:\n    image: [[a:1]]\n", id="byte-order-mark"),
        pytest.param("services:\n  a:\n    image:\t[[a:1]]\t# tab\n", id="tabs"),
        pytest.param("services:\n  a: {image: '[[a:1]]'}\n  b: {image: \"[[b\\x3a1]]\"}\n", id="quotes-and-escapes"),
        pytest.param("services:\n  a:\n    image: >-  # c\n      [[a:1]]\n\n    tty: true\n", id="folded"),
        pytest.param("services:\n  a:\n    image: |2-\n      [[a:1]]\n", id="literal-with-indent"),
        pytest.param("x-i: &i [[a:1]]\nservices:\n  a: {image: *i}\n  b: {image: *i}\n", id="alias"),
        pytest.param("x-i: &i {image: [[a:1]]}\nservices:\n  a: {<<: *i}\n", id="merge-key"),
        pytest.param("x-i: &i !!str [[a:1]]\nservices: {a: {image: *i}}\n", id="tag-and-anchor"),
        pytest.param("services: {a: {image: '[[${NONE:-a:1}]]'}}\n---\nservices: {b: {image: [[b:1]]}}\n", id="stream"),
        pytest.param('{"services": {"a": {"image": "[[a:1]]", "tty": 1.0}}}', id="json"),
        pytest.param("services: {a: {image: [[a:1]], environment: {I: 'b:2'}}}\n", id="guess-stays"),
        pytest.param("services:\n  a: {image: [[a:1]], profiles: [x]}\n", id="optional"),
        pytest.param("services: {a: {image: [[a:1]]}, b: {image: 'absent.example/b:1', profiles: [x]}}", id="absent"),
    ],
)  # fmt: skip
def test_only_the_names_are_replaced(tmp_path: Path, text: str) -> None:
    result = rewritten(tmp_path, text.replace("[[", "").replace("]]", ""))
    assert shown(result) == []
    [copy] = result.copies
    assert copy.raw.decode() == re.sub(r"\[\[.*?\]\]", NEW, text)


def test_a_value_over_several_lines_is_replaced_in_quotes_only(tmp_path: Path) -> None:
    [copy] = rewritten(tmp_path, 'services: {a: {image: "a:\\\n1"}}\n').copies
    assert copy.raw.decode() == f'services: {{a: {{image: "{NEW}"}}}}\n'
    assert replaced_source(">-\n  a:1\n\n  b\n", NEW) is None


def test_images_that_are_not_carried_are_listed(tmp_path: Path) -> None:
    result = rewritten(tmp_path, "services: {a: {image: a:1}, b: {image: 'absent.example/b:1'}}")
    assert [str(name) for name in result.missing] == ["absent.example/b:1"]


def test_a_name_that_is_right_already_is_left_alone(tmp_path: Path) -> None:
    text = "services: {a: {image: nginx}}\n"
    (tmp_path / "compose.yaml").write_text(text)
    discovery = discover([tmp_path / "compose.yaml"], root=tmp_path)
    result = rewrite(discovery, lambda _: "docker.io/library/nginx:latest")
    assert result.copies[0].raw == text.encode()


KUBERNETES = """apiVersion: apps/v1
kind: Deployment
metadata: {name: a}
spec: {template: {spec: {containers: [{name: a, image: web:1, args: [--x-image=side.example/x:1]}]}}}
---
apiVersion: example.com/v1
kind: Thing
metadata: {name: t}
spec: {image: {repository: reg.example/app, tag: "2"}}
"""
SERVICE = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n"


def test_kubernetes_files_are_copied_with_those_that_run_nothing(tmp_path: Path) -> None:
    files = {
        "k/a.yaml": KUBERNETES,
        "k/sub/b.yaml": SERVICE,
        "k/other.yaml": "password: x\n",
        "k/.env": "A=1\n",
    }
    discovery = found_in(tmp_path, files, "k")
    result = rewrite(discovery, name_new, [tmp_path / "k"])
    copies = {str(copy.path): copy.raw.decode() for copy in result.copies}
    assert copies == {"a.yaml": KUBERNETES.replace("web:1", NEW), "sub/b.yaml": SERVICE}
    assert len(result.problems) == 1
    assert "reg.example/app:2 is not a whole value of YAML" in result.problems[0].what
    assert result.problems[0].place.line == 9


def test_included_files_keep_their_places_and_variables_are_not_copied(tmp_path: Path) -> None:
    files = {
        "app/compose.yaml": "include: [../shared/c.yaml]\nservices: {a: {image: '${A}'}}\n",
        "shared/c.yaml": "services: {b: {image: b:1}}\n",
        "app/.env": "A=a:1\nPASSWORD=x\n",
    }
    discovery = found_in(tmp_path, files, "app/compose.yaml")
    result = rewrite(discovery, name_new)
    assert sorted(str(copy.path) for copy in result.copies) == ["app/compose.yaml", "shared/c.yaml"]
    assert shown(result) == ["not copied, because files with variables can hold passwords"]


@pytest.mark.parametrize(
    "files",
    [
        {"Chart.yaml": "name: c\nversion: 1.0.0\n", "values.yaml": "image: a:1\n", "templates/a.yaml": ""},
        {"kustomization.yaml": "resources: [a.yaml]\n", "a.yaml": KUBERNETES.partition("---")[0]},
    ],
    ids=["chart", "kustomization"],
)
def test_what_a_program_makes_is_a_problem_and_not_copied(tmp_path: Path, files: dict[str, str]) -> None:
    discovery = found_in(tmp_path, files)
    result = rewrite(discovery, name_new, [tmp_path])
    assert result.copies == ()
    assert result.problems
    assert {what.partition(": ")[2] for what in shown(result)} == {
        "not rewritten, because a program makes it"
    }


def test_lists_are_a_problem(tmp_path: Path) -> None:
    result = rewritten(tmp_path, "a:1\nb/c:2\n", "images.txt")
    assert result.copies == ()
    assert len(result.problems) == 2


def test_one_place_with_two_images_is_a_problem(tmp_path: Path) -> None:
    files = {
        "compose.yaml": "include: [{path: x/c.yaml}, {path: y/c.yaml}]\n",
        "x/c.yaml": "services: {a: {extends: {service: b, file: ../b.yaml}}}",
        "b.yaml": "services: {b: {image: 'a:${T:-1}'}}",
        "y/c.yaml": "services: {c: {extends: {service: b, file: ../b.yaml}}}",
        "y/.env": "T=2\n",
    }
    discovery = found_in(tmp_path, files, "compose.yaml")
    result = rewrite(discovery, lambda reference: f"off.example/a:{reference.tag}")
    assert any("because the same place is also" in what for what in shown(result))


def test_standard_input_and_the_text_that_was_read(tmp_path: Path) -> None:
    text = KUBERNETES.partition("---")[0]
    result = rewrite(discover([STDIN], standard_input=text), name_new)
    assert [(str(copy.path), copy.raw.decode()) for copy in result.copies] == [
        (STDIN_NAME, text.replace("web:1", NEW))
    ]
    write(tmp_path, {"a.yaml": text})
    discovery: Discovery = discover([tmp_path / "a.yaml"], Choices(), root=tmp_path)
    write(tmp_path, {"a.yaml": "changed"})
    assert rewrite(discovery, name_new).copies[0].raw.decode() == text.replace("web:1", NEW)


def test_a_link_in_the_folder_becomes_a_file(tmp_path: Path) -> None:
    write(tmp_path, {"real.yaml": "services: {a: {image: a:1}}\n"})
    (tmp_path / "compose.yaml").symlink_to("real.yaml")
    result = rewrite(discover([tmp_path / "compose.yaml"], root=tmp_path), name_new)
    assert [str(copy.path) for copy in result.copies] == ["compose.yaml"]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("a: b", "a: c", True),
        ("a: b", "a: b", False),
        ("a: b", "a: c # x", True),
        ("a: b", "a: c\nd: e", False),
        ("a: b\nx: 1", "a: c\nx: '1'", False),
        ("a: b\nx: [1]", "a: c\nx: [1, 2]", False),
        ("a: b\nx: 1", "x: 1\na: c", False),
        ("a: b", "- c", False),
        ("a: b", "a: !x c", False),
        ("a: b", "a: c\n---\na: c", False),
        ("a: b", "a: c\na: d", False),
    ],
)
def test_documents_are_compared(before: str, after: str, expected: bool) -> None:
    assert same_except(parse_nodes(before), parse_nodes(after), {(3, 4): "c"}) is expected


SCALARS = st.sampled_from(["a:1", "'a:1'", '"a:1"', ">-\n   a:1\n", "|-\n   a:1\n"])


@settings(max_examples=30, deadline=None)
@given(st.lists(SCALARS, min_size=1, max_size=4), st.sampled_from(["", "# é\n", "---\n"]))
def test_values_of_any_style_are_replaced(values: list[str], head: str) -> None:
    text = head + "".join(f"k{number}: {value}\n" for number, value in enumerate(values))
    stream = parse_nodes(text)
    [document] = stream.documents
    spans = [(node.start, node.end) for node in document.pairs.values()]  # type: ignore[union-attr]
    for start, end in reversed(spans):
        text = f"{text[:start]}{replaced_source(text[start:end], NEW)}{text[end:]}"
    assert same_except(stream, parse_nodes(text), dict.fromkeys(spans, NEW))
