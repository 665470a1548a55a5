"""README, and the pages that show commands, followed in a fresh clone: every command runs, and answers what is
printed there.

What differs from run to run (digests, times, sizes, the user, the folder) is compared by its form. The
port of the sample registry is a free one here, and lines of progress, which a terminal draws as a bar,
are left out. A line `...` stands for any lines that the page does not show.
"""

import os
import re
import socket
import subprocess
import sys
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

import pytest

import airgap.errors
from airgap.account import user_name
from airgap.errors import AirgapError
from tests.support.engines import Engine
from tests.support.waits import GENEROUS

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text()
WALK = (REPOSITORY / "docs" / "walkthrough.md").read_text()
EXIT_CODES = (REPOSITORY / "docs" / "exit-codes.md").read_text()
PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
MAX_README_LINES = 120
QUICKSTART = "sh examples/quickstart.sh"
BLOCK = re.compile(r"^```(sh|console)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
PROGRESS = re.compile(
    r"(fetching|verifying|checking existing blobs|checking files on the host|loading into [^ ]+)(:|$)"
)
FORMS = [
    (re.compile(r"(?:[0-9a-f]{4} ){15}[0-9a-f]{4}"), "FINGERPRINT"),
    (re.compile(r"\b[0-9a-f]{16,64}\b"), "HEX"),
    (re.compile(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)"), "TIME"),
    (re.compile(r"\b\d[\d,.]* (B|kB|MB|GB|TB|bytes)\b"), "SIZE"),
    (re.compile(r" {2,}"), "  "),
]
MARK = "@@ end of step"
AWAIT = """
import sys, time, urllib.request
for _ in range(6000):
    try:
        urllib.request.build_opener(urllib.request.ProxyHandler({})).open(sys.argv[1], timeout=60)
        break
    except OSError:
        time.sleep(0.1)
"""


@dataclass(frozen=True)
class Step:
    """A command of a page, and the lines that it answers; None where the page does not say."""

    command: str
    answer: list[str] | None


def steps(page: str) -> list[Step]:
    found = []
    for kind, text in BLOCK.findall(page):
        if kind == "sh":
            found += [Step(line, None) for line in text.splitlines() if line]
            continue
        for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]:
            command, _, answer = re.sub(r"\\\n *", "", part).partition("\n")
            found.append(Step(command, answer.splitlines()))
    return found


@dataclass(frozen=True)
class Followed:
    """What each step in turn said, and its exit code."""

    clone: Path
    said: list[tuple[list[str], int]]


@pytest.fixture(scope="module")
def followed_readme(session_docker20: Engine, tmp_path_factory: pytest.TempPathFactory) -> Followed:
    return follow(README, tmp_path_factory.mktemp("readme"), session_docker20.host)


@pytest.fixture(scope="module")
def followed_walk(tmp_path_factory: pytest.TempPathFactory) -> Followed:
    return follow(WALK, tmp_path_factory.mktemp("walk"), "unix:///nonexistent/docker.sock")


def follow(page: str, folder: Path, docker: str) -> Followed:
    clone = folder / "airgap"
    subprocess.run(["git", "clone", "--quiet", REPOSITORY, clone], check=True, stdin=subprocess.DEVNULL)
    port = free_port()
    for example in (clone / "examples" / "stack.yaml", clone / "examples" / "compose.yaml"):
        example.write_text(example.read_text().replace(":5000", f":{port}"))
    (folder / "bin").mkdir()
    python = folder / "bin" / "python3"
    python.write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    script = "".join(in_script(step, port) for step in steps(page))
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("AIRGAP_", "VIRTUAL_ENV"))
    }
    environment |= {
        "PATH": f"{folder / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "DOCKER_HOST": docker,
    }
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=clone,
        env=environment,
        check=False,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=3 * GENEROUS,
    )
    pieces = re.split(rf"\n?{MARK} (\d+)\n", done.stdout)
    assert len(pieces) == 2 * len(steps(page)) + 1, done.stdout
    said = [
        (text.replace(f":{port}", ":5000").splitlines(), int(code))
        for text, code in zip(pieces[:-1:2], pieces[1::2], strict=True)
    ]
    return Followed(clone, said)


def in_script(step: Step, port: int) -> str:
    """The step in the shell that all steps share; what is started behind is waited for."""
    command = step.command.replace(":5000", f":{port}")
    if command == QUICKSTART:
        command = f"test -f {QUICKSTART.split()[1]}"  # test_quickstart.py runs it
    if command.endswith("&"):
        command = f"{command.removesuffix('&')} --port {port} &"
        command += f"\n'{sys.executable}' -c '{AWAIT}' http://127.0.0.1:{port}/v2/"
    return f"{{ {command}\n}} 2>&1; printf '\\n{MARK} %s\\n' $?\n"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def form(line: str, clone: Path) -> str:
    """The line without what differs from run to run."""
    line = line.replace(str(clone), "/home/alice/airgap")
    line = re.sub(rf"\b{re.escape(user_name())}\b", "alice", line)
    for pattern, name in FORMS:
        line = pattern.sub(name, line)
    return line.rstrip()


@pytest.mark.parametrize("number", range(len(steps(README))))
def test_step_of_readme(followed_readme: Followed, number: int) -> None:
    check_step(followed_readme, steps(README)[number], number)


@pytest.mark.parametrize("number", range(len(steps(WALK))))
def test_step_of_the_walk(followed_walk: Followed, number: int) -> None:
    check_step(followed_walk, steps(WALK)[number], number)


def check_step(followed: Followed, step: Step, number: int) -> None:
    lines, code = followed.said[number]
    assert code == 0, "\n".join([step.command, *lines])
    if step.answer is None:
        return
    got = [form(line, followed.clone) for line in lines if not PROGRESS.match(line)]
    want = [form(line, followed.clone) for line in step.answer]
    pattern = "".join(".*" if line == "..." else re.escape(f"{line}\n") for line in want)
    assert re.fullmatch(pattern, "".join(f"{line}\n" for line in got), re.DOTALL), (step.command, got)


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (README, "init discover lock pack trust verify load serve"),
        (WALK, "init lock plan pack inspect verify load serve audit"),
    ],
)
def test_a_page_shows_the_whole_way(page: str, words: str) -> None:
    commands = " ".join(step.command for step in steps(page))
    assert [word for word in words.split() if f"airgap {word}" not in commands] == []


def test_readme_is_short_and_begins_with_the_quickstart() -> None:
    assert len(README.splitlines()) <= MAX_README_LINES
    assert QUICKSTART in [step.command for step in steps(README)]


def test_exit_codes_are_those_of_the_errors() -> None:
    rows = dict(re.findall(r"^\| (\d+) \| [^|]* \|(.*)\|$", EXIT_CODES, re.MULTILINE))
    told = {int(code): set(re.findall(r"`(\w+)`", names)) for code, names in rows.items()}
    classes = {
        value
        for value in vars(airgap.errors).values()
        if isinstance(value, type) and issubclass(value, AirgapError) and "exit_code" in vars(value)
    }
    true = {
        code: {found.__name__ for found in group}
        for code, group in groupby(sorted(classes, key=lambda c: c.exit_code), key=lambda c: c.exit_code)
    }
    assert told == true | {0: set(), 130: set()}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_links_to_exist(page: Path) -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_is_linked_from_readme() -> None:
    assert [page.name for page in PAGES[1:] if f"docs/{page.name}" not in README] == []
