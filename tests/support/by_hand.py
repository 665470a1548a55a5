"""The commands for people who check a kit or a bundle without airgap: those of README, and of a VERIFY.txt."""

import os
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.waits import GENEROUS

REPOSITORY = Path(__file__).parents[2]
KIT_TEXT = (REPOSITORY / "airgap" / "kit" / "VERIFY.txt").read_text("ascii")
BUNDLE_TEXT = (REPOSITORY / "airgap" / "bundle" / "VERIFY.txt").read_text("ascii")


def commands(text: str) -> list[str]:
    """All lines of a VERIFY.txt that are commands."""
    return [line.removeprefix("     ") for line in text.splitlines() if line.startswith("     ")]


def chapter(text: str, number: int) -> str:
    """A numbered chapter of a VERIFY.txt."""
    found = re.search(rf"(?ms)^{number}\. .*?(?=^\d\. |\Z)", text)
    assert found, number
    return found[0]


def block(text: str) -> str:
    """The one block of a VERIFY.txt that is pasted whole."""
    [found] = re.findall(
        r"^\(COPY=.*?(?:install\.sh|docker load)\)$", "\n".join(commands(text)), re.MULTILINE | re.DOTALL
    )
    return str(found)


def readme_block(first_word: str) -> str:
    """The block in README, or a page that it links to, after the line that sets `first_word` (KIT, KEY)."""
    text = "".join(
        path.read_text() for path in (REPOSITORY / "README.md", *(REPOSITORY / "docs").glob("*.md"))
    )
    [found] = re.findall(rf"^```text\n{first_word}=.*?\n(.*?)\n```$", text, re.MULTILINE | re.DOTALL)
    return str(found)


def replaced(text: str, old: str, new: str) -> str:
    """Replace what is there exactly once."""
    assert text.count(old) == 1, (old, text)
    return text.replace(old, new)


def by_key(text: str, kind: str) -> str:
    """The block for a key of this kind (p256, p384, ed25519), as the text tells how to change it."""
    own = commands(text)
    start = block(text)
    if "$SUM" in start:
        begin = next(i for i, line in enumerate(own) if line.startswith("ID=$(openssl"))
        [old] = [line for line in start.splitlines() if "$SUM" in line]
        start = replaced(start, old, "\n".join(own[begin : begin + 3]))
    if kind == "p384":
        return replaced(start, "-sha256 -verify", "-sha384 -verify")
    if kind == "ed25519":
        begin = next(i for i, line in enumerate(own) if line.endswith("> sig/pae &&"))
        lines = start.splitlines()
        first = next(i for i, line in enumerate(lines) if "DSSEv1" in line)
        lines[first : first + 2] = own[begin : begin + 2]
        return "\n".join(lines)
    return start


@dataclass(frozen=True)
class Hand:
    """A person at a shell. `folder` gets the copies (none may stay), and what `docker load` was given."""

    folder: Path
    shell: str = "sh"

    @property
    def loaded(self) -> Path:
        """What `docker load` read."""
        return self.folder / "loaded.tar"

    def __call__(self, script: str, **variables: object) -> subprocess.CompletedProcess[str]:
        """Paste a script into a shell that has these variables."""
        for name in ("bin", "copies"):
            (self.folder / name).mkdir(exist_ok=True)
        docker = self.folder / "bin" / "docker"
        docker.write_text(f'#!/bin/sh\n[ "$*" = load ] && cat > "{self.loaded}"\n')
        docker.chmod(0o755)
        environ: Mapping[str, str] = {
            "PATH": f"{docker.parent}:{os.environ['PATH']}", "LC_ALL": "C", "HOME": str(self.folder),
            "TMPDIR": str(self.folder / "copies"), **{name: str(value) for name, value in variables.items()},
        }  # fmt: skip
        script = script.replace("mktemp -dp /var/tmp", "mktemp -d")
        done = subprocess.run(
            [self.shell, "-c", script], env=environ, cwd=self.folder, stdin=subprocess.DEVNULL, check=False,
            capture_output=True, text=True, timeout=GENEROUS,
        )  # fmt: skip
        assert list((self.folder / "copies").iterdir()) == [], "a copy stayed"
        return done
