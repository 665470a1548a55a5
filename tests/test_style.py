"""What of docs/style.md a machine can hold: wordings that are not plain English, synonyms, and the form of docstrings."""

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PAGES = [
    REPOSITORY / "README.md",
    *(
        page
        for page in (REPOSITORY / "docs").glob("*.md")
        if page.name not in {"style.md", "compatibility.md"}
    ),
]
CODE = sorted((REPOSITORY / "airgap").rglob("*.py"))

AVOIDED = {
    "is not a, instead of is no": r"(?<![Tt]here )\b(?:is|are|was|were) no (?!longer\b|more\b|less\b|later\b|other\b)[a-z]+",
    "again, instead of anew": r"\banew\b",
    "resumes or continues, instead of goes on": r"\b(?:goes|gone|going) on\b",
    "is left unchanged, instead of let be": r"\blet be\b",
    "whoever, instead of for who": r"\bfor who\b",
    "reports, instead of tells": r"\b(?:tells|telling)\b",
    "a technical word, instead of a household one": (
        r"\b(?:desk|shelf|shelves|knock|farewell|patience|spoilt?|strays|mends|mended|mending)\b"
    ),
    "what the repository has, instead of a page that is not in it": r"\bDESIGN\b|\bsecurity\.md\b",
}


@pytest.mark.parametrize("path", [*CODE, *PAGES], ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_it_is_plain_english(path: Path) -> None:
    text = path.read_text("utf-8")
    found = {rule: re.findall(pattern, text) for rule, pattern in AVOIDED.items()}
    assert {rule: words for rule, words in found.items() if words} == {}
    if path.name != "glossary.md":
        assert _synonyms_in(_texts(path)) == [], "not the word of docs/glossary.md"


@pytest.mark.parametrize(
    ("rule", "sentence"),
    [
        ("is not a, instead of is no", "the path is no bundle"),
        ("again, instead of anew", "written anew"),
        ("resumes or continues, instead of goes on", "the run goes on"),
        ("reports, instead of tells", "the engine tells its version"),
    ],
)
def test_what_is_avoided_is_found(rule: str, sentence: str) -> None:
    assert re.search(AVOIDED[rule], sentence)


@pytest.mark.parametrize("sentence", ["there is no site here", "is no longer valid", "are no more than 64"])
def test_good_english_is_left_alone(sentence: str) -> None:
    assert not any(re.search(pattern, sentence) for pattern in AVOIDED.values())


# -- one word for one thing


def _synonyms() -> dict[str, str]:
    """The words that the glossary rules out, each with the word to use."""
    page = (REPOSITORY / "docs" / "glossary.md").read_text("utf-8")
    rows = re.findall(r"^\| ([a-z ]+) \| ([^|]+) \|$", page.partition("| word | not |")[2], re.MULTILINE)
    return {synonym: word for word, synonyms in rows for synonym in synonyms.split(", ")}


SYNONYMS = _synonyms()


def _synonyms_in(text: str) -> list[str]:
    return [synonym for synonym in SYNONYMS if re.search(rf"\b{synonym}s?\b", text, re.IGNORECASE)]


def _texts(path: Path) -> str:
    """The prose of a page; of a module, its docstrings and messages."""
    if path.suffix == ".md":
        return path.read_text("utf-8")
    constants = (
        node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Constant)
    )
    return "\n".join(node.value for node in constants if isinstance(node.value, str))


def test_synonyms_are_found() -> None:
    assert _synonyms_in("two thumb drives and the Journal") == ["journal", "thumb drive"]
    assert len(SYNONYMS) > 5


# -- docstrings

HELD = ("audit", "cli", "oci", "review", "trust")
"""The packages whose docstrings have the form of the page in every function."""
NOUNS = {
    "The",
    "A",
    "An",
    "Whether",
    "What",
    "How",
    "Which",
    "Where",
    "Who",
    "All",
    "Each",
    "Every",
    "It",
    "This",
}
IN_SECONDS = re.compile(r"timeout|silence|interval|delay")
IN_BYTES = re.compile(r"max_bytes|size$|_limit$")


def _functions(path: Path) -> Iterator[tuple[str, ast.FunctionDef]]:
    """Each function that has a docstring, with its name and line; properties are values."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) and not _is_property(node):
            yield f"{path.name}:{node.lineno} {node.name}", node


def _is_property(function: ast.FunctionDef) -> bool:
    return any("property" in ast.unparse(decorator) for decorator in function.decorator_list)


def _faults(function: ast.FunctionDef) -> Iterator[str]:
    text = ast.get_docstring(function) or ""
    if text.split()[0] in NOUNS:
        yield "does not begin with a verb"
    if function.name.startswith("_"):
        return
    parameters = [a for a in (*function.args.args, *function.args.kwonlyargs) if a.arg not in {"self", "cls"}]
    if len(parameters) > 3 and "\n" not in text:
        yield "explains none of its parameters"
    for parameter in parameters:
        number = parameter.annotation and re.match(r"(int|float)\b", ast.unparse(parameter.annotation))
        if number and IN_SECONDS.search(parameter.arg) and "second" not in text:
            yield f"{parameter.arg} has no unit"
        if number and IN_BYTES.search(parameter.arg) and "byte" not in f"{parameter.arg} {text}":
            yield f"{parameter.arg} has no unit"


@pytest.mark.parametrize("package", HELD)
def test_docstrings_say_what_a_reader_needs(package: str) -> None:
    found = [
        f"{name}: {fault}"
        for path in sorted((REPOSITORY / "airgap" / package).glob("*.py"))
        for name, function in _functions(path)
        for fault in _faults(function)
    ]
    assert found == []


@pytest.mark.parametrize(
    ("source", "fault"),
    [
        ('def f(a):\n    """Whether it is."""', "does not begin with a verb"),
        ('def f(a, b, c, d):\n    """Return it."""', "explains none of its parameters"),
        ('def f(timeout: float):\n    """Wait."""', "timeout has no unit"),
        ('def f(size: int):\n    """Check."""', "size has no unit"),
    ],
)
def test_a_docstring_that_lacks_something_is_found(source: str, fault: str) -> None:
    [function] = ast.parse(source).body
    assert isinstance(function, ast.FunctionDef)
    assert list(_faults(function)) == [fault]


@pytest.mark.parametrize("module", ["limits.py", "discover/limits.py", "endpoints/ssh/limits.py"])
def test_limits_have_a_reason_and_a_unit(module: str) -> None:
    body = ast.parse((REPOSITORY / "airgap" / module).read_text("utf-8")).body
    names = [ast.unparse(node.targets[0]) for node in body if isinstance(node, ast.Assign)]
    explained = [
        ast.unparse(node.targets[0])
        for node, after in itertools.pairwise(body)
        if isinstance(node, ast.Assign) and isinstance(after, ast.Expr)
    ]
    assert [name for name in names if name not in explained] == []
    assert [name for name in names if name.endswith(("_SIZE", "_LENGTH", "_LIMIT", "_TIME"))] == []
