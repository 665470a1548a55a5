"""What commands import: each package takes as long to import as much of what a command does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from airgap.site import now
from tests.support.bundles import Gap, make_gap
from tests.support.images import simple_image, write_layout
from tests.support.registry import FakeRegistry

PARSER = {"typer", "annotated_doc", "shellingham"}
KEYS = {"cryptography", "_cffi_backend", "_openssl", "bcrypt"}
"""What checks signatures; `bcrypt` is an optional part of it."""
STREAMS = {"isal", "zstandard"}
MANIFESTS = {"pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection"}
MANIFESTS |= {"yaml", "_yaml", "semantic_version"}
SLOW = {
    "asyncio", "ssl", "socket", "http", "email", "xml", "multiprocessing", "concurrent", "sqlite3", "unittest",
    "tempfile", "logging", "importlib.metadata",
}  # fmt: skip
"""Of the standard library: what takes long to import."""
HELP_OURS = {
    "airgap", "airgap.cli", "airgap.cli.main", "airgap.cli.console", "airgap.cli.error_parts",
    "airgap.cli.commands", "airgap.cli.overview", "airgap.errors", "airgap.hiding", "airgap.durable",
    "airgap.limits",
}  # fmt: skip

RUN = """
import sys
before = set(sys.modules)
from airgap.cli.main import main
code = main(sys.argv[1:])
print()
print(*set(sys.modules) - before)
sys.exit(code)
"""


def imported_by(home: Path, *words: object) -> set[str]:
    """The modules that a command imports beyond a bare Python."""
    env = {**os.environ, "AIRGAP_HOME": str(home), "NO_PROXY": "*"}
    command = [sys.executable, "-c", RUN, *map(str, words)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    return set(done.stdout.splitlines()[-1].split())


def foreign(modules: set[str]) -> set[str]:
    packages = {name.partition(".")[0] for name in modules}
    ours = {"airgap", "cython_runtime"}
    return {
        name
        for name in packages - set(sys.stdlib_module_names) - ours
        if not name.startswith(("_cython_", "_sysconfigdata_"))  # parts of a Python and of compiled modules
    }


def slow(modules: set[str]) -> set[str]:
    return SLOW & modules


@pytest.fixture(scope="module")
def gap(tmp_path_factory: pytest.TempPathFactory) -> Gap:
    return make_gap(tmp_path_factory.mktemp("gap"), now=now())


def test_help_imports_only_what_it_shows(tmp_path: Path, unmeasured: None) -> None:
    modules = imported_by(tmp_path, "--help")
    assert foreign(modules) == set()
    assert {name for name in modules if name.startswith("airgap")} == HELP_OURS
    assert slow(modules) == set()
    assert "dataclasses" not in modules
    assert len(modules) < 90  # 58 on 3.11


def test_a_command_imports_no_other_one(tmp_path: Path, unmeasured: None) -> None:
    modules = imported_by(tmp_path, "version")
    assert foreign(modules) <= PARSER
    assert slow(modules) == set()
    assert len([name for name in modules if name.startswith("airgap")]) < 25  # 17


@pytest.mark.parametrize(
    ("words", "most"), [("audit log", 70), ("trust show", 70), ("inspect", 105), ("verify", 105)]
)
def test_commands_that_read_bundles_import_no_parser_of_manifests(
    gap: Gap, words: str, most: int, unmeasured: None
) -> None:
    bundle = [gap.bundle] if " " not in words else []
    modules = imported_by(gap.home, *words.split(), *bundle)
    assert foreign(modules) <= PARSER | KEYS
    assert slow(modules) == set()
    ours = [name for name in modules if name.startswith("airgap")]
    assert len(ours) < most, sorted(ours)


def test_load_imports_one_endpoint(gap: Gap, unmeasured: None) -> None:
    with FakeRegistry() as registry:
        to = f"registry:{registry.host}/x"
        modules = imported_by(gap.home, "load", gap.bundle, "--to", to, "--no-receipt-copy")
    assert foreign(modules) <= PARSER | KEYS | STREAMS | {"urllib3"}
    endpoints = {name for name in modules if name.startswith("airgap.endpoints.")}
    assert {name.split(".")[2] for name in endpoints} & {"containerd", "layout", "server"} == set()
    assert "airgap.endpoints.docker.engine" not in modules  # only the logins in Docker's settings


def test_plan_imports_no_client(tmp_path: Path, unmeasured: None) -> None:
    write_layout(tmp_path / "source", {"example.com/api:1": simple_image("api")})
    manifest = tmp_path / "stack.yaml"
    manifest.write_text("version: 1\nname: s\nimages:\n  - {oci: source, ref: example.com/api:1}\n")
    modules = imported_by(tmp_path / "home", "plan", manifest)
    assert foreign(modules) <= PARSER | KEYS | STREAMS | MANIFESTS
