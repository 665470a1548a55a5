"""What figures were taken on: the machine, its system, and the versions of the programs."""

import os
import platform
import ssl
import subprocess
from pathlib import Path

import pytest

from tests.bench.world import REPOSITORY
from tests.support.sid import sid_root


def machine(folder: Path) -> dict[str, str]:
    """What the figures were taken on."""
    cpu = _field("/proc/cpuinfo", "model name")
    extensions = (
        "with SHA extensions" if "sha_ni" in _field("/proc/cpuinfo", "flags") else "no SHA extensions"
    )
    memory = int(_field("/proc/meminfo", "MemTotal").split()[0]) / (1 << 20)
    return {
        "machine": f"{os.cpu_count()} x {cpu} ({extensions}), {memory:.0f} GiB, {_file_system(folder)}",
        "system": f"{platform.freedesktop_os_release()['PRETTY_NAME']}, Linux {platform.release()}",
        "python": f"{platform.python_version()}, {ssl.OPENSSL_VERSION}",
        "airgap": _output("git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"),
        "tools": _packages("", "docker-registry", "docker.io", "curl", "openssh-server"),
        "tools of Debian sid": _sid_packages(),
    }


def _field(path: str, name: str) -> str:
    lines = Path(path).read_text().splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "0")


def _file_system(folder: Path) -> str:
    return " on ".join(_output("findmnt", "-n", "-o", "FSTYPE,SOURCE", "-T", str(folder)).split())


def _sid_packages() -> str:
    try:
        return _packages(str(sid_root()), "crane", "oras", "skopeo", "docker.io")
    except pytest.skip.Exception as error:
        return str(error)


def _packages(root: str, *names: str) -> str:
    form = "${Package} ${Version}, "
    return _output("dpkg-query", f"--admindir={root}/var/lib/dpkg", "-W", "-f", form, *names).rstrip(", ")


def _output(*argv: str) -> str:
    try:
        return subprocess.run(argv, capture_output=True, check=False).stdout.decode().strip()
    except OSError as error:
        return f"{argv[0]}: {error.strerror}"
