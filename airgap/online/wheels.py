"""Wheels for another machine than this one, fetched by pip: the one program that this side runs.

pip knows the index, its mirrors, proxies and logins from the user's own settings. It is run by the
interpreter that runs us, with fixed words and no shell; no text of a medium or network is among them.
"""

import importlib.util
import json
import re
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from airgap.bundle.files import media_errors
from airgap.errors import EndpointError, FormatError, NotFoundError, UnavailableError, UsageError
from airgap.kit.install import GLIBC
from airgap.kit.statement import Target
from airgap.oci.digest import Digest

_MACHINES = ("x86_64", "aarch64")
PLATFORMS = tuple(f"{libc}-{machine}" for libc in ("linux", "musllinux") for machine in _MACHINES)
"""Where a kit can be installed: Linux with glibc or with musl."""

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
"""The versions that airgap runs on, and that a kit serves unless told."""

_PYTHON = re.compile(r"3\.(1[1-9]|[2-9][0-9])", re.ASCII)
_WHEEL = re.compile(
    r"(?P<project>[A-Za-z0-9_.]+)-(?P<version>[A-Za-z0-9_.!+]+)(-[0-9][^-]*)?(-[A-Za-z0-9_.]+){3}\.whl",
    re.ASCII,
)
_UNREACHABLE = re.compile(r"Retrying \(|Connection(Error| refused)|Max retries|timed out|resolve|ProxyError")

PIP_SECONDS = 7200.0
"""For the wheels of one Python, some 40 MB: pip itself has no bound on the whole."""

_PIP = """
import json, runpy, sys
from pip._vendor.packaging import markers
environment = json.loads(sys.argv.pop(1))
markers.default_environment = lambda: dict(environment)
ours = " and ".join(f"{key} == {json.dumps(value)}" for key, value in environment.items() if value)
if not markers.Marker(ours).evaluate():
    sys.exit("ERROR: this pip cannot be told for which Python to choose; install another version of pip")
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
"""pip chooses wheels for the platform that it is given, but whether a package is needed at all there
(`typing-extensions; python_version < "3.13"`) it decides by the Python that runs it. Here by the target's.
"""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel on disk. Project and version are what its name says."""

    path: Path
    project: str
    version: str
    sha256: str

    @classmethod
    def at(cls, path: Path) -> "Wheel":
        """Raises `FormatError` for a name that no wheel has."""
        match = _WHEEL.fullmatch(path.name)
        if match is None:
            raise FormatError("not the name of a wheel", subject=path)
        with media_errors("cannot read", path):
            return cls(path, match["project"], match["version"], Digest.of(path.read_bytes()).hex)

    @property
    def requirement(self) -> str:
        """The line that lets pip install this file and no other."""
        return f"{self.project.replace('_', '-').lower()}=={self.version} --hash=sha256:{self.sha256}"


def targets_of(platforms: Sequence[str], pythons: Sequence[str]) -> tuple[Target, ...]:
    """Every platform with every Python; this machine's platform and `PYTHONS` where none are given.

    Raises `UsageError` for one that no kit can be made for.
    """
    for python in pythons:
        if not _PYTHON.fullmatch(python):
            raise UsageError("no such Python for airgap", subject=python, want="3.11 or later, like 3.12")
    for platform in platforms or (here := (sysconfig.get_platform(),)):
        if platform not in PLATFORMS:
            hint = None if platforms else "name the server's with --platform"
            raise UsageError("unknown platform", subject=platform, want=" or ".join(PLATFORMS), hint=hint)
    found = {
        (PLATFORMS.index(platform), int(python[2:])): Target(platform, python)
        for platform in platforms or here
        for python in pythons or PYTHONS
    }
    return tuple(found[key] for key in sorted(found))


def fetch(
    target: Target, wanted: Sequence[str], source: Path | None, folder: Path, seconds: float = PIP_SECONDS
) -> list[Wheel]:
    """Download the wheels that `wanted` (names, or paths of wheels) needs on the target into `folder`.

    `source` is a folder of wheels to take them from, in place of the index. Raises `UsageError` where
    there is no pip, `UnavailableError` for an index that cannot be reached, `NotFoundError` for a
    package that has no wheel for the target, `EndpointError` for anything else that pip says.
    """
    if importlib.util.find_spec("pip") is None:
        raise UsageError(
            "no pip beside airgap",
            subject=sys.executable,
            hint="install pip into the same environment: `pipx inject airgap pip`, or python -m ensurepip",
        )
    words = ["download", "--dest", str(folder), "--only-binary=:all:", "--implementation", "cp"]
    words += ["--python-version", target.python, *(f"--platform={tag}" for tag in tags(target.platform))]
    words += ["--disable-pip-version-check", "--no-input", "--progress-bar=off"]
    words += ["--no-index", "--find-links", str(source)] if source is not None else []
    words += ["--", *wanted]
    command = [sys.executable, "-P", "-c", _PIP, json.dumps(environment(target)), *words]
    try:
        done = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(
            "pip does not end",
            subject=target,
            want=f"{seconds:,.0f} s at most",
            hint="see that pip reaches its index (pip config list), or give a folder of wheels with --wheels",
        ) from error
    if done.returncode != 0:
        raise _refusal(done.stderr.decode("utf-8", "replace"), target, source)
    return [Wheel.at(path) for path in sorted(folder.iterdir())]


def tags(platform: str) -> list[str]:
    """The platform tags of the wheels that run there, the best first (PEP 600, PEP 656)."""
    libc, _, machine = platform.partition("-")
    if libc == "musllinux":
        return [f"musllinux_1_{minor}_{machine}" for minor in (2, 1)]
    newer = [f"manylinux_{GLIBC[0]}_{minor}_{machine}" for minor in range(GLIBC[1], 16, -1)]
    return [*newer, f"manylinux2014_{machine}", f"manylinux_2_12_{machine}", f"manylinux_2_5_{machine}"]


def environment(target: Target) -> dict[str, str]:
    """What markers see on the target (PEP 508); empty where nobody can know."""
    return {
        "implementation_name": "cpython",
        "implementation_version": f"{target.python}.0",
        "os_name": "posix",
        "platform_machine": target.platform.partition("-")[2],
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{target.python}.0",
        "python_version": target.python,
        "sys_platform": "linux",
    }


def _refusal(said: str, target: Target, source: Path | None) -> EndpointError:
    errors = [
        line.removeprefix("ERROR: ").strip() for line in said.splitlines() if line.startswith("ERROR: ")
    ]
    got = (errors or said.strip().splitlines()[-1:] or ["no word"])[0][:500]
    what = "pip did not get the wheels"
    if source is None and _UNREACHABLE.search(said):
        hint = "see that pip reaches its index (pip config list), or give a folder of wheels with --wheels"
        return UnavailableError(what, subject=target, got=got, hint=hint)
    if any("No matching distribution" in line for line in errors):
        hint = (
            "leave this Python out with --python, or put the wheel that is missing into a folder for --wheels"
        )
        return NotFoundError(what, subject=target, got=got, hint=hint)
    return EndpointError(what, subject=target, got=got)
