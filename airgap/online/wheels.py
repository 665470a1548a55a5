"""Fetches wheels for another machine with pip, the only program that this side runs.

pip takes the index, mirrors, proxies and logins from the user's settings. It runs in the interpreter that
runs airgap, with fixed arguments and without a shell; no text from a medium or network is among them.
"""

import importlib.util
import json
import re
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from pathlib import Path

from airgap.bundle.files import media_errors
from airgap.errors import EndpointError, FormatError, NotFoundError, UnavailableError, UsageError
from airgap.kit.install import GLIBC
from airgap.kit.statement import KitTarget
from airgap.limits import PIP_SECONDS
from airgap.oci.digest import Digest
from airgap.values import dataclass

_MACHINES = ("x86_64", "aarch64")
PLATFORMS = tuple(f"{libc}-{machine}" for libc in ("linux", "musllinux") for machine in _MACHINES)
"""The platforms on which a kit can be installed: Linux with glibc or with musl."""

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
"""The versions that airgap runs on, and the default of a kit."""

_PYTHON = re.compile(r"3\.(1[1-9]|[2-9][0-9])", re.ASCII)
_WHEEL = re.compile(
    r"(?P<project>[A-Za-z0-9_.]+)-(?P<version>[A-Za-z0-9_.!+]+)(-[0-9][^-]*)?(-[A-Za-z0-9_.]+){3}\.whl",
    re.ASCII,
)
_UNREACHABLE = re.compile(r"Retrying \(|Connection(Error| refused)|Max retries|timed out|resolve|ProxyError")

_INDEX_HINT = "check that pip reaches its index (`pip config list`), or use --wheels with a folder of wheels"

_PIP = """
import json, runpy, sys
from pip._vendor.packaging import markers
environment = json.loads(sys.argv.pop(1))
markers.default_environment = lambda: dict(environment)
ours = " and ".join(f"{key} == {json.dumps(value)}" for key, value in environment.items() if value)
if not markers.Marker(ours).evaluate():
    sys.exit("ERROR: this version of pip cannot choose for another Python; install another version")
runpy.run_module("pip", run_name="__main__", alter_sys=True)
"""
"""Runs pip with the marker environment of the target, in the first argument.

This is the only place that uses pip's private code, because pip's public command line has no substitute:
--python-version and --platform choose the wheels, but whether a package is needed at all (`typing-extensions;
python_version < "3.13"`) is decided for the Python that runs pip, even in the --report of `pip install
--dry-run` (pypa/pip#11664). A kit would then lack packages. If a version of pip ignores the replacement, the
program reports that and ends before pip runs, so it never chooses wrong wheels silently.
"""


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel on disk, with the project and version from its file name."""

    path: Path
    project: str
    version: str
    sha256: str

    @classmethod
    def at(cls, path: Path) -> "Wheel":
        """Return the wheel at `path`. Raises `FormatError` if its name is not that of a wheel."""
        match = _WHEEL.fullmatch(path.name)
        if match is None:
            raise FormatError("not the name of a wheel", subject=path)
        with media_errors("cannot read", path):
            return cls(path, match["project"], match["version"], Digest.of(path.read_bytes()).hex)

    @property
    def requirement(self) -> str:
        """The line that makes pip install this file and no other."""
        return f"{self.project.replace('_', '-').lower()}=={self.version} --hash=sha256:{self.sha256}"


def targets_of(platforms: Sequence[str], pythons: Sequence[str]) -> tuple[KitTarget, ...]:
    """Return each platform with each Python; by default, this machine's platform and `PYTHONS`.

    Raises `UsageError` for a platform or Python that kits do not support.
    """
    for python in pythons:
        if not _PYTHON.fullmatch(python):
            raise UsageError(
                "airgap does not run on this Python", subject=python, want="3.11 or later, like 3.12"
            )
    for platform in platforms or (this_platform := (sysconfig.get_platform(),)):
        if platform not in PLATFORMS:
            hint = None if platforms else "name the server's platform with --platform"
            raise UsageError("unknown platform", subject=platform, want=" or ".join(PLATFORMS), hint=hint)
    targets = {
        (PLATFORMS.index(platform), int(python[2:])): KitTarget(platform, python)
        for platform in platforms or this_platform
        for python in pythons or PYTHONS
    }
    return tuple(targets[key] for key in sorted(targets))


def fetch_wheels(
    target: KitTarget, wanted: Sequence[str], source: Path | None, folder: Path, seconds: float = PIP_SECONDS
) -> list[Wheel]:
    """Download the wheels that `wanted` (names, or paths of wheels) needs on the target into `folder`.

    If `source` is given, the wheels come from this folder instead of the index. Raises `UsageError` if pip
    is not installed, `UnavailableError` for an index that cannot be reached, `NotFoundError` for a package
    that has no wheel for the target, and `EndpointError` for any other error of pip.
    """
    if importlib.util.find_spec("pip") is None:
        raise UsageError(
            "pip is not installed beside airgap",
            subject=sys.executable,
            hint="install pip into the same environment: `pipx inject airgap pip` or `python -m ensurepip`",
        )
    arguments = ["download", "--dest", str(folder), "--only-binary=:all:", "--implementation", "cp"]
    arguments += ["--python-version", target.python, *(f"--platform={tag}" for tag in tags(target.platform))]
    arguments += ["--disable-pip-version-check", "--no-input", "--progress-bar=off"]
    arguments += ["--no-index", "--find-links", str(source)] if source is not None else []
    arguments += ["--", *wanted]
    command = [sys.executable, "-P", "-c", _PIP, json.dumps(environment(target)), *arguments]
    try:
        done = subprocess.run(
            command, check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=seconds
        )
    except subprocess.TimeoutExpired as error:
        raise UnavailableError(
            "pip took too long", subject=target, want=f"at most {seconds:,.0f} s", hint=_INDEX_HINT
        ) from error
    if done.returncode != 0:
        raise _refusal(done.stderr.decode("utf-8", "replace"), target, source)
    return [Wheel.at(path) for path in sorted(folder.iterdir())]


def tags(platform: str) -> list[str]:
    """Return the platform tags of the wheels that run on a platform, the best first (PEP 600, PEP 656)."""
    libc, _, machine = platform.partition("-")
    if libc == "musllinux":
        return [f"musllinux_1_{minor}_{machine}" for minor in (2, 1)]
    newer = [f"manylinux_{GLIBC[0]}_{minor}_{machine}" for minor in range(GLIBC[1], 16, -1)]
    return [*newer, f"manylinux2014_{machine}", f"manylinux_2_12_{machine}", f"manylinux_2_5_{machine}"]


def environment(target: KitTarget) -> dict[str, str]:
    """Return the marker environment of the target (PEP 508); values that cannot be known are empty."""
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


def _refusal(output: str, target: KitTarget, source: Path | None) -> EndpointError:
    errors = [
        line.removeprefix("ERROR: ").strip() for line in output.splitlines() if line.startswith("ERROR: ")
    ]
    got = (errors or output.strip().splitlines()[-1:] or ["no output"])[0][:500]
    what = "pip cannot get the wheels"
    if source is None and _UNREACHABLE.search(output):
        hint = (
            "check that pip reaches its index (`pip config list`), or name a folder of wheels with --wheels"
        )
        return UnavailableError(what, subject=target, got=got, hint=hint)
    if any("No matching distribution" in line for line in errors):
        hint = "leave this Python out with --python, or put the missing wheel into a folder for --wheels"
        return NotFoundError(what, subject=target, got=got, hint=hint)
    return EndpointError(what, subject=target, got=got)
