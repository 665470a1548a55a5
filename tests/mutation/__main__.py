"""Mutation testing of what decides about trust: `python -m tests.mutation [PATH ...]`, from the repository's root.

Each mutant of a module is put into a fork of a pytest that has collected the tests. The tests that execute the changed
statement run there, quickest first, until one fails. Survivors that RESULTS.md does not judge are listed at the end,
and the exit code is 1. `--figures FILE` appends a row for each module to a table.
"""

import argparse
import importlib
import itertools
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from types import ModuleType

import coverage
import pytest
from _pytest.runner import runtestprotocol

from tests.mutation.mutants import Mutant, mutants_of

REPOSITORY = Path(__file__).parents[2]
JUDGED = Path(__file__).with_name("RESULTS.md")
_VERIFY = ("unit/carry/test_verify.py", "unit/carry/test_verify_tuf.py")
TESTS = {
    "airgap/trust/*.py": ("unit/trust",),
    "airgap/oci/*.py": ("unit/oci",),
    "airgap/carry/verify.py": _VERIFY,
    "airgap/carry/verify_small_files.py": (
        "unit/carry/test_verify_small_files.py", "unit/carry/test_verify.py", "cli/test_bad_bundles.py",
        "unit/offline/test_load_refusal.py",
    ),
    "airgap/carry/verify_kit.py": ("unit/carry/test_verify_kit.py",),
    "airgap/carry/verify_medium.py": ("unit/carry/test_verify_medium.py",),
    "airgap/carry/verify_one_volume_at_a_time.py": ("unit/carry/test_verify_one_volume_at_a_time.py",),
    "airgap/carry/verify_recorded.py": ("unit/offline/test_load_bundle.py", "cli/test_offline.py"),
    "airgap/carry/rollback.py": ("unit/carry/test_rollback.py",),
    "airgap/bundle/statement.py": ("unit/bundle/test_statement.py",),
    "airgap/prove_receipt.py": ("unit/test_prove_receipt.py",),
}  # fmt: skip
"""The modules, and below tests/ the tests that have to find their mutants."""
MOST_SECONDS = 20.0
"""Seconds of CPU of the tests that a mutant has to survive; the quickest tests come first."""
MEMORY = 4 << 30
NOT_MADE, FOUND = 2, 3
"""Exit codes of a child; FOUND and above say which test failed."""


class Mutation:
    def __init__(self, paths: list[Path], only: tuple[str, ...]) -> None:
        self.paths, self.only = paths, only
        self.figures: dict[Path, Counter[str]] = {}
        self.survivors: list[str] = []

    def pytest_collection(self, session: pytest.Session) -> None:
        import hypothesis  # not before pytest: it rewrites its plugins

        phases = (hypothesis.Phase.explicit, hypothesis.Phase.generate)
        hypothesis.settings.register_profile(
            "mutation", hypothesis.settings.default, database=None, derandomize=True, phases=phases
        )
        hypothesis.settings.load_profile("mutation")

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        items = {item.nodeid: item for item in session.items}
        seconds, executed = self._measure(session.items)
        for path in self.paths:
            where, begin = path.relative_to(REPOSITORY), time.monotonic()
            module = importlib.import_module(".".join(where.with_suffix("").parts))
            figures = self.figures.setdefault(path, Counter())
            finders: dict[str, list[str]] = {}
            for mutant in mutants_of(module):
                if not f"{where} {mutant.name}".startswith(self.only):
                    continue
                function = finders.setdefault(mutant.name.partition(":")[0], [])
                names = _in_order(mutant, executed.get(str(path), {}), seconds, function)
                chosen = [items[name] for name in names]
                verdict, finder = _try(mutant, module, chosen, seconds) if chosen else ("no test", None)
                function += [finder.nodeid] if finder else []
                figures[verdict] += 1
                if verdict in {"survived", "no test"}:
                    self.survivors.append(f"{where} {mutant.name}")
                    print(f"  {verdict}: {where}:{mutant.lines[0]} {mutant.name}", flush=True)
            print(f"{where} {dict(figures)} {time.monotonic() - begin:.0f} s", flush=True)
        return True

    def _measure(self, items: list[pytest.Item]) -> tuple[dict[str, float], dict[str, dict[int, list[str]]]]:
        """Run the tests as they are; return how long each takes and which execute which line.

        Fixtures of the session stay, for all mutants: most of them make a bundle.
        """
        cover = coverage.Coverage(
            data_file=None, config_file=False, include=[str(path) for path in self.paths]
        )
        seconds = {}
        cover.start()
        for item, following in itertools.pairwise([*items, items[0]]):
            cover.switch_context(item.nodeid)
            begin = time.process_time()  # not the clock: the machine may be busy
            if _fails(item, following):
                print(f"fails without any mutant: {item.nodeid}", flush=True)
            seconds[item.nodeid] = time.process_time() - begin
        cover.stop()
        data = cover.get_data()
        print(f"{len(seconds)} tests in {sum(seconds.values()):.0f} s", flush=True)
        return seconds, {file: data.contexts_by_lineno(file) for file in data.measured_files()}


def _in_order(
    mutant: Mutant, executed: dict[int, list[str]], seconds: dict[str, float], finders: list[str]
) -> list[str]:
    """Return the tests that execute the mutant: first those that found others of the function, then the quickest."""
    names = {name for line in mutant.lines for name in executed.get(line, ())} - {""}
    order = sorted(names, key=lambda name: (-finders.index(name) if name in finders else 1, seconds[name]))
    ends = itertools.accumulate(seconds[name] for name in order)
    return [name for name, end in zip(order, ends, strict=True) if end <= MOST_SECONDS]


def _fails(item: pytest.Item, following: pytest.Item) -> bool:
    return any(report.failed for report in runtestprotocol(item, log=False, nextitem=following))


def _try(
    mutant: Mutant, module: ModuleType, items: list[pytest.Item], seconds: dict[str, float]
) -> tuple[str, pytest.Item | None]:
    """Return what became of the mutant, and the test that found it."""
    folder = Path(tempfile.mkdtemp(prefix="mutant-"))
    if (child := os.fork()) == 0:
        os.setsid()
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        null = os.open(os.devnull, os.O_RDWR)
        for stream in range(3):
            os.dup2(null, stream)
        items[0].config._tmp_path_factory._basetemp = folder  # type: ignore[attr-defined]
        if not mutant.install(module):
            os._exit(NOT_MADE)
        for number, (item, following) in enumerate(itertools.pairwise([*items, items[0].session.items[0]])):
            signal.setitimer(signal.ITIMER_VIRTUAL, 2 + 5 * seconds[item.nodeid])  # of CPU
            signal.setitimer(signal.ITIMER_REAL, 60 + 100 * seconds[item.nodeid])  # for a mutant that waits
            if _fails(item, following):
                os._exit(FOUND + min(number, 255 - FOUND))
        os._exit(0)
    _, status = os.waitpid(child, 0)
    shutil.rmtree(folder, ignore_errors=True)
    if os.WIFSIGNALED(status):
        late = os.WTERMSIG(status) in {signal.SIGVTALRM, signal.SIGALRM}
        return ("timeout" if late else "killed"), None
    code = os.WEXITSTATUS(status)
    if code < FOUND:
        return {0: "survived", NOT_MADE: "not made"}.get(code, "killed"), None
    return "killed", items[code - FOUND] if code < 255 else None


def main() -> int:
    parser = argparse.ArgumentParser("python -m tests.mutation", description=__doc__)
    parser.add_argument(
        "paths", nargs="*", metavar="PATH", help="modules below airgap/ (all that decide about trust)"
    )
    parser.add_argument("--figures", type=Path, metavar="FILE", help="append a table row for each module")
    parser.add_argument(
        "--only", type=Path, metavar="FILE", help="only mutants whose names begin with a line of it"
    )
    options = parser.parse_args()
    paths, tests = list[Path](), set[Path]()
    for path in [path for pattern in options.paths or TESTS for path in sorted(REPOSITORY.glob(pattern))]:
        names = next(names for pattern, names in TESTS.items() if path.match(pattern))
        if path.name != "__init__.py":
            paths.append(path)
            tests |= {REPOSITORY / "tests" / name for name in names}
    only = tuple(options.only.read_text("utf-8").splitlines()) if options.only else ("",)
    plugin = Mutation(paths, only)
    code = pytest.main(
        ["-q", "-p", "no:cacheprovider", "--capture=no", *map(str, sorted(tests))], plugins=[plugin]
    )
    if options.figures:
        with options.figures.open("a") as out:
            out.writelines(_row(path, figures) for path, figures in plugin.figures.items())
    judged = JUDGED.read_text("utf-8")
    unjudged = [survivor for survivor in plugin.survivors if f"- {survivor}\n" not in judged]
    print(*(f"not judged: {survivor}" for survivor in unjudged), sep="\n")
    return 1 if unjudged else code


def _row(path: Path, figures: Counter[str]) -> str:
    lost = figures["survived"] + figures["no test"]
    made = figures["killed"] + figures["timeout"] + lost
    score = f"{100 * (made - lost) / made:.1f} %" if made else "-"
    return f"| {path.relative_to(REPOSITORY)} | {made} | {figures['killed']} | {figures['timeout']} | {lost} | {score} |\n"


if __name__ == "__main__":
    sys.exit(main())
