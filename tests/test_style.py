"""What of docs/style.md a machine can hold: wordings that are not plain English, in the code's texts and in the pages."""

import re
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
