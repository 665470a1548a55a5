"""YAML of other tools: several documents, anchors, merge keys and tags, with places, and within limits."""

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.manifest.yaml_nodes import Mapping, Node, Scalar, Sequence, iterate_nodes, parse_nodes

LOADERS = [
    pytest.param(yaml.SafeLoader, id="python"),
    pytest.param(getattr(yaml, "CSafeLoader", yaml.SafeLoader), id="c"),
]


def value(node: Node) -> object:
    if isinstance(node, Scalar):
        return node.text
    if isinstance(node, Sequence):
        return [value(item) for item in node.items]
    return {key: value(child) for key, child in node.pairs.items()}


def values(text: str) -> list[object]:
    return [value(document) for document in parse_nodes(text).documents]


def only(text: str) -> Mapping:
    stream = parse_nodes(text)
    assert stream.problems == ()
    [document] = stream.documents
    assert isinstance(document, Mapping)
    return document


@pytest.mark.parametrize(
    ("text", "want"),
    [
        ("", []),
        ("# only a comment\n", []),
        ("a: 1.10\n", [{"a": "1.10"}]),
        ("a: no\n---\nb: 2\n", [{"a": "no"}, {"b": "2"}]),
        ("---\na: 1\n...\n---\nb: 2\n", [{"a": "1"}, {"b": "2"}]),
        ("---# Source: x.yaml\na: 1\n--- # y\nb: 2\n---", [{"a": "1"}, {"b": "2"}]),
        ("%YAML 1.1\n# top\n---\na: 1\n", [{"a": "1"}]),
        ("a: &x b\nc: *x\n", [{"a": "b", "c": "b"}]),
        ("x: &x {a: 1, b: 2}\ny: {<<: *x, b: 3}\n", [{"x": {"a": "1", "b": "2"}, "y": {"b": "3", "a": "1"}}]),
        (
            "x: &x {a: 1}\ny: &y {a: 2, b: 3}\nz:\n  <<: [*x, *y]\n",
            [{"x": {"a": "1"}, "y": {"a": "2", "b": "3"}, "z": {"a": "1", "b": "3"}}],
        ),
        ('"<<": {a: 1}\n', [{"<<": {"a": "1"}}]),
        ("a: |\n  one\n  two\n", [{"a": "one\ntwo\n"}]),
        ('{"a": ["b", {"c": 1}]}', [{"a": ["b", {"c": "1"}]}]),
        ("1: a\ntrue: b\n", [{"1": "a", "true": "b"}]),
    ],
)
def test_documents_are_read(text: str, want: list[object]) -> None:
    assert values(text) == want


def test_a_scalar_has_its_place_in_the_file() -> None:
    text = 'é: 1\n---\nimage: "nginx:1.27" # web\nother: &i redis\nagain: *i\n'
    document = parse_nodes(text).documents[1]
    assert isinstance(document, Mapping)
    image, again = document.pairs["image"], document.pairs["again"]
    assert isinstance(image, Scalar)
    assert (text[image.start : image.end], image.line, image.is_plain) == ('"nginx:1.27"', 3, False)
    assert isinstance(again, Scalar)
    assert (text[again.start : again.end], again.line) == ("redis", 4)


def test_tags_are_kept_and_change_nothing() -> None:
    document = only("a: !reset null\nb: !override [x]\nc: !!str 1\n")
    assert [(node.tag, value(node)) for node in document.pairs.values()] == [
        ("!reset", "null"), ("!override", ["x"]), ("tag:yaml.org,2002:str", "1"),
    ]  # fmt: skip


def test_empty_values_are_not_text() -> None:
    document = only("a:\nb: null\nc: ~\nd: ''\ne: x\n")
    assert [document.scalar(key) is not None for key in "abcde"] == [False, False, False, True, True]


@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize(
    ("bad", "line", "what"),
    [
        ("a: [1\n", 3, "not YAML"),
        ("a: b: c\n", 2, "not YAML"),
        ("{{- if .Values.x }}\n", 2, "not a key"),
        ("a: *nothing\n", 2, "an unknown alias"),
        ("a: &a [*a]\n", 2, "an alias inside the value it repeats"),
        ("? [a, b]\n: c\n", 2, "not a key"),
        ("a: \x07\n", 2, "not YAML"),
        (f"a: {'[' * 150}{']' * 150}\n", 2, "nested too deeply"),
    ],
)
def test_a_bad_document_is_located_and_the_next_one_is_read(
    loader: object, bad: str, line: int, what: str
) -> None:
    stream = parse_nodes(f"---\n{bad}---\nimage: nginx\n", loader)
    [problem] = stream.problems
    assert problem.what == what
    assert problem.line in (line, line - 1)
    assert [value(document) for document in stream.documents] == [{"image": "nginx"}]


def test_the_last_of_two_different_values_is_used_and_reported() -> None:
    stream = parse_nodes("a: 1\na: 2\nb: 3\nb: 3\n")
    assert [value(document) for document in stream.documents] == [{"a": "2", "b": "3"}]
    assert [(problem.line, problem.got) for problem in stream.problems] == [(2, "a")]


def bomb(levels: int) -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, levels)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(bomb(9), id="lists"),
        pytest.param(
            "a0: &a0 {k: [x, x, x, x, x, x, x, x]}\n"
            + "\n".join(
                f"a{n}: &a{n} {{l: {{<<: *a{n - 1}}}, r: {{<<: *a{n - 1}}}, <<: *a{n - 1}}}"
                for n in range(1, 40)
            ),
            id="merge keys",
        ),
        pytest.param(
            "a0: &a0 x\n" + "\n".join(f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 400)), id="one level each"
        ),
    ],
)
def test_what_aliases_repeat_counts_towards_the_limits(text: str) -> None:
    stream = parse_nodes(text)
    assert stream.documents == ()
    assert [problem.what for problem in stream.problems] in (["too many values"], ["nested too deeply"])


@settings(max_examples=60, deadline=None)
@given(st.text(alphabet="a:-&*<[]{}!|>'\"#%?,\n \t\\é\ud7ff0", max_size=60))
def test_any_text_gives_documents_or_problems(text: str) -> None:
    results = [parse_nodes(text, loader) for loader in (yaml.SafeLoader, None)]
    for stream in results:
        for document in stream.documents:
            for node in iterate_nodes(document):
                assert node.line >= 1
                assert not isinstance(node, Scalar) or 0 <= node.start <= node.end <= len(text)
