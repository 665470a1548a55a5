"""The table in docs/discovery.md: recall and precision on the samples, by kind of file."""

from collections.abc import Iterable, Sequence
from itertools import groupby
from pathlib import Path

from tests.samples import NEEDED, UNRESOLVABLE, Result, cases, measure

PAGE = Path(__file__).parents[2] / "docs" / "discovery.md"
_BEGIN, _END = "<!-- samples: begin -->\n", "<!-- samples: end -->\n"
_KINDS = {
    "compose": "Compose",
    "devcontainer": "devcontainer.json",
    "helm": "Helm charts, without Helm",
    "k8s": "Kubernetes YAML",
    "kustomize": "kustomizations",
    "list": "text lists",
    "manifest": "Hauler and Zarf",
}
_HEADER = (
    "| kind | cases | images to find | found | of these as guesses | optional, found "
    "| sure and derived | wrong | wrongly sure |\n|---|--:|--:|--:|--:|--:|--:|--:|--:|\n"
)


def results() -> list[Result]:
    """Return the results of all cases that can be resolved from the samples alone."""
    return [measure(case) for case in cases() if case.name not in UNRESOLVABLE]


def table(found: Sequence[Result]) -> str:
    """Return the table, with a row for each kind and one for all."""
    rows = [_row(_KINDS[kind], list(of_kind)) for kind, of_kind in groupby(found, _kind)]
    return _HEADER + "".join([*rows, _row("all", found)])


def write_table(page: str, text: str) -> str:
    """Return the page with `text` as its table."""
    before, _, rest = page.partition(_BEGIN)
    _, _, after = rest.partition(_END)
    return f"{before}{_BEGIN}{text}{_END}{after}"


def _kind(result: Result) -> str:
    return result.case.kind


def _row(name: str, found: Iterable[Result]) -> str:
    results = list(found)
    needed = sum(len(result.case.expected(*NEEDED)) for result in results)
    optional = sum(len(result.case.expected("opt")) for result in results)
    unflagged = sum(len(result.unflagged) for result in results)
    figures = [
        len(results),
        needed,
        needed - sum(len(result.missed) for result in results),
        sum(len(result.guessed) for result in results),
        f"{optional - unflagged} of {optional}",
        sum(len(result.reported) for result in results),
        sum(len(result.wrong) for result in results),
        sum(len(result.falsely_sure) for result in results),
    ]
    return f"| {name} | {' | '.join(map(str, figures))} |\n"
