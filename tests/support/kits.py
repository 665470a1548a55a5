"""Kits of small stand-ins for the packages that airgap needs, made with no index."""

import re
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import requires
from pathlib import Path

from airgap.admin.init_site import set_up
from airgap.kit.statement import KitTarget
from airgap.oci.digest import Digest
from airgap.online.kit import KitOrder, MadeKit, make_kit
from airgap.online.own_wheel import write_wheel
from airgap.online.wheels import Wheel, fetch_wheels, targets_of
from airgap.progress import Silent
from airgap.site import Site
from airgap.trust.keys import SigningKey

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
SECRET = b"secret"

PIP = """
import pathlib, sys, sysconfig
words = sys.argv[1:]
assert words[0] == "install" and "--no-index" in words and "--require-hashes" in words, words
wanted = pathlib.Path(words[words.index("--requirement") + 1]).read_text()
assert "airgap==" in wanted and "pip==" not in wanted, wanted
site = pathlib.Path(sysconfig.get_path("purelib"), "airgap")
for name in ("", "bundle", "cli", "trust"):
    (site / name).mkdir()
for name in ("__init__", "bundle/compression", "cli/app", "manifest", "trust/keys"):
    (site / f"{name}.py").touch()
script = pathlib.Path(sys.prefix, "bin", "airgap")
script.write_text("#!/bin/sh\\necho stand-in\\n")
script.chmod(0o755)
"""
"""What stands for pip in a kit: it writes files where an installed airgap has them."""

BROKEN_PIP = "import sys\nprint('ERROR: \\x1b[31mno')\nsys.exit(1)\n"


def write_stand_in(
    folder: Path, project: str, *needs: str, version: str = "99.0", tags: str = "py3-none-any", main: str = ""
) -> Path:
    """A wheel of one module that does nothing, or runs `main`."""
    name = project.replace("-", "_")
    info = f"{name}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {project}\nVersion: {version}"]
    metadata += [f"Requires-Dist: {need}" for need in needs]
    path = folder / f"{name}-{version}-{tags}.whl"
    files = {
        f"{name}/__init__.py": b"",
        f"{name}/__main__.py": main.encode(),
        f"{info}/METADATA": "\n".join([*metadata, ""]).encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tags}\n".encode(),
    }
    write_wheel(path, files, info)
    return path


def needed_projects() -> list[str]:
    """What airgap needs to run."""
    lines = [line for line in requires("airgap") or () if "extra ==" not in line]
    return [re.split(r"[^A-Za-z0-9._-]", line)[0] for line in lines]


def _oldest(project: str) -> str:
    """The oldest version that airgap takes of a project of which it does not take every newer one; else a new one."""
    bounds = next(
        line for line in requires("airgap") or () if line.startswith(project) and "extra ==" not in line
    )
    return re.findall(r">=([0-9.]+)", bounds)[0] if "<" in bounds else "99.0"


def write_stand_ins(folder: Path, *, pip: str = PIP, leave_out: str = "") -> Path:
    """A folder with a wheel for each, and for pip."""
    folder.mkdir(exist_ok=True)
    for project in needed_projects():
        if project != leave_out:
            write_stand_in(folder, project, version=_oldest(project))
    write_stand_in(folder, "pip", main=pip)
    return folder


def make_site(home: Path, algorithm: str = "ecdsa-p256") -> tuple[Site, SigningKey]:
    """A sending site, and alice's key."""
    set_up(home, "alice", "hq", algorithm=algorithm, passphrase=lambda: SECRET, now=NOW)
    site = Site(home)
    return site, site.signing_key(None, lambda: SECRET)


def make_small_kit(folder: Path, algorithm: str = "ecdsa-p256", **order: object) -> MadeKit:
    """A kit of stand-ins in `folder`/stick, by a site in `folder`/home, for this machine's own Python."""
    site, key = make_site(folder / "home", algorithm)
    wheels = write_stand_ins(folder / "wheels")
    usual: Mapping[str, object] = {
        "to": folder / "stick", "targets": here(), "signer": key, "now": NOW, "wheels": wheels,
    }  # fmt: skip
    return make_kit(site, KitOrder(**(usual | order)), Silent())


@dataclass(frozen=True)
class FetchedOnce:
    """`fetch_wheels` for many kits of the same wheels: pip is run once for each set, and its answer is kept in `folder`."""

    folder: Path

    def __call__(
        self, target: KitTarget, wanted: Sequence[str], source: Path | None, folder: Path
    ) -> list[Wheel]:
        if source is None or not source.is_dir():
            return fetch_wheels(target, wanted, source, folder)
        wheels = [Path(word) for word in wanted if "/" in word] + sorted(source.iterdir())
        asked = [str(target), *(word for word in wanted if "/" not in word)]
        asked += [f"{path.name} {Digest.of(path.read_bytes())}" for path in wheels]
        kept = self.folder / Digest.of("\n".join(asked).encode()).hex
        if not kept.exists():
            fetch_wheels(target, wanted, source, folder)
            shutil.copytree(folder, kept)
        shutil.copytree(kept, folder, dirs_exist_ok=True)
        return [Wheel.at(path) for path in sorted(folder.iterdir())]


def here() -> tuple[KitTarget, ...]:
    """The Python that runs the tests."""
    import sys

    return targets_of((), (f"3.{sys.version_info[1]}",))
