"""The house stands as it is drawn (CONTRIBUTING.md): floors, wings, doors, sizes, and a quick start."""

import ast
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from functools import cache
from graphlib import TopologicalSorter
from pathlib import Path

import airgap
from airgap import errors

PACKAGE = Path(airgap.__file__).parent
UNIT = Path(__file__).parent / "unit"

GROUND = (
    "account", "durable", "errors", "hiding", "limits", "owned", "programs", "times", "values", "workers",
)  # fmt: skip
"""Single modules that need nothing but one another; together they are one room."""

SAME_ROOM = {"sender_state": "site"}
"""A single module that is a part of another one."""

FLOORS = {
    "ground": 0,
    "oci": 1,
    "bundle": 2,
    "trust": 2,
    "audit": 2,
    "manifest": 2,
    "progress": 2,
    "recognise": 2,
    "discover": 3,
    "endpoints": 3,
    "site": 3,
    "kit": 3,
    "agreement": 3,
    "prove_receipt": 3,
    "ledger_summary": 3,
    "advice": 3,
    "carry": 4,
    "site_check": 4,
    "admin": 5,
    "offline": 5,
    "online": 5,
    "review": 5,
    "api": 6,
    "cli": 6,
    "__main__": 7,
}
"""A module imports only from lower floors, its own package aside. The version, in `airgap` itself, is for all."""

NEIGHBOURS = (
    "archive", "containerd", "docker", "files_folder", "images_folder", "layout", "registry", "server", "ssh",
)  # fmt: skip
"""The endpoints. `archive_tar` is a part of `archive`; no neighbour imports another."""
SHARED = (
    "ports", "engine_info", "remote", "attachments", "logins", "listing", "naming", "save_format", "save_stream",
    "web", "wire",
)  # fmt: skip
"""What neighbours share: the Protocols, and the form of `docker save`. They import no neighbour."""

DOORS = {
    "cryptography": r"airgap\.trust\..+",
    "cyclonedx": r"airgap\.carry\.sbom",
    "docker": r"airgap\.endpoints\.docker\.dial",
    "h11": r"airgap\.endpoints\.server\.(head|exchange)",
    "isal": r"airgap\.bundle\.compression",
    "packageurl": r"airgap\.carry\.sbom",
    "paramiko": r"airgap\.endpoints\.ssh(\..+)?",
    "pydantic": r"airgap\.manifest\..+",
    "pydantic_core": r"airgap\.manifest\..+",
    "requests": r"airgap\.endpoints\.docker\.(client|dial)",
    "rich": r"airgap\.cli\.progress_output",
    "semantic_version": r"airgap\.manifest\.(chart_versions|tag_rule)",
    "sigstore": r"airgap\.trust\.keyless",
    "sigstore_models": r"airgap\.trust\.keyless",
    "typer": r"airgap\.cli\..+",
    "urllib3": r"airgap\.endpoints\.(registry\..+|docker\.dial|wire)",
    "yaml": r"airgap\.manifest\.(strict_yaml|yaml_nodes)",
    "zstandard": r"airgap\.bundle\.compression",
}
"""Which modules may import a third-party package; one that is not here may not be imported at all."""

PACKAGES = {
    "cyclonedx": "cyclonedx-python-lib",
    "packageurl": "packageurl-python",
    "yaml": "pyyaml",
    "pydantic_core": "pydantic-core",
    "semantic_version": "semantic-version",
    "sigstore_models": "sigstore",
}
"""The names of packages that are called otherwise than their module."""

NETWORK = {
    "socket": r"airgap\.endpoints\.(docker\.engine|wire|server\.server|ssh\..+)",
    "ssl": r"airgap\.endpoints\.registry\.pool",
    "http": r"airgap\.endpoints\.((registry|server)\..+|wire)",
}
"""Which modules may import what opens connections."""

NEVER = {
    "asyncio", "ctypes", "ftplib", "marshal", "multiprocessing", "pickle", "shelve", "smtplib", "subprocess",
    "tarfile", "urllib.request", "webbrowser", "xmlrpc", "zipfile",
}  # fmt: skip
"""Modules of the standard library that nobody imports: programs, archives and code out of hostile data."""

NARROW = {
    "asyncio": r"airgap\.endpoints\.server\.(server|exchange|slots)",
    "subprocess": (
        r"airgap\.(programs|endpoints\.(containerd\.ctr|docker\.helper)|kit\.install|online\.wheels)"
    ),
    "zipfile": r"airgap\.online\.own_wheel",
}
"""Who may all the same. `serve` answers many connections at a time. A kit is fetched and installed by pip,
which has no other door than its command line,
containerd has its own client, `ctr`, and programs may keep the logins of registries; only Helm knows how a chart's
templates are rendered, and `gpgv` checks OpenPGP signatures; our own wheel is written, and no archive read.
"""

STANDS_ALONE = "airgap.kit.install"
"""Travels in kits and runs on a bare Python: it may import the standard library only."""

NEVER_CALLED = {
    "eval", "exec", "compile", "__import__", "breakpoint", "print", "input",
    "os.system", "os.popen", "os.fork", "shutil.unpack_archive", "shutil.make_archive",
}  # fmt: skip

MAX_FILE = 400
MAX_FUNCTION = 45

Import = tuple[str, int]
"""A module that is imported, and the line of the import."""


def _name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {_name(path): path for path in sorted(PACKAGE.rglob("*.py"))}
TESTS = sorted((PACKAGE.parent / "tests").rglob("*.py"))


@cache
def _tree(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text("utf-8"))


def _imported(node: ast.Import | ast.ImportFrom) -> Iterator[Import]:
    """By full name: `from airgap.oci import digest` is `airgap.oci.digest`."""
    if isinstance(node, ast.Import):
        yield from ((alias.name, node.lineno) for alias in node.names)
        return
    assert node.level == 0, f"line {node.lineno}: relative import"
    for alias in node.names:
        full = f"{node.module}.{alias.name}"
        yield (full if full in MODULES else str(node.module)), node.lineno


@cache
def _imports(module: str) -> list[Import]:
    """Every import, wherever it stands."""
    nodes = ast.walk(_tree(module))
    return [
        each for node in nodes if isinstance(node, ast.Import | ast.ImportFrom) for each in _imported(node)
    ]


def _all_imports() -> Iterator[tuple[str, str, int]]:
    for module in MODULES:
        yield from ((module, wanted, line) for wanted, line in _imports(module))


def _room(module: str) -> str:
    """`airgap.oci.digest` -> `oci`."""
    room = module.split(".")[1]
    return "ground" if room in GROUND else SAME_ROOM.get(room, room)


def _inner_imports() -> Iterator[tuple[str, str, int]]:
    """Imports of one module of airgap by another; `airgap` itself holds the version only."""
    for module, wanted, line in _all_imports():
        if module != "airgap" and wanted.startswith("airgap."):
            yield module, wanted, line


def _neighbour(module: str) -> str | None:
    """The neighbour that a module of `endpoints` belongs to; None for what they share."""
    room = module.split(".")[2] if module.count(".") > 1 else ""
    if room in SHARED or not room:
        return None
    return room if room in NEIGHBOURS else room.partition("_")[0]


@cache
def _calls(module: str) -> list[tuple[str, int]]:
    nodes = ast.walk(_tree(module))
    return [(ast.unparse(node.func), node.lineno) for node in nodes if isinstance(node, ast.Call)]


def test_the_package_itself_holds_the_version_only():
    assert list(_imports("airgap")) == []


def test_every_room_has_a_floor():
    assert {_room(module) for module in MODULES if module != "airgap"} <= set(FLOORS)


def test_every_third_party_package_is_declared_with_a_floor():
    project = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text("utf-8"))["project"]
    optional = project["optional-dependencies"]
    declared = [*project["dependencies"], *optional["sbom"], *optional["sigstore"]]
    floors = {name: floor for name, _, floor in (text.partition(">=") for text in declared)}
    assert {PACKAGES.get(module, module) for module in DOORS} <= set(floors)
    assert all(floors.values())


def test_imports_go_to_lower_floors():
    wrong = [
        f"{module}:{line} imports {wanted}"
        for module, wanted, line in _inner_imports()
        if _room(module) != _room(wanted) and FLOORS[_room(wanted)] >= FLOORS[_room(module)]
    ]
    assert wrong == []


def test_the_wings_share_only_the_bundle():
    """Also without the floors: the gap is between these two."""
    wings = {"online", "offline"}
    wrong = [f"{m}:{line}" for m, w, line in _inner_imports() if {_room(m), _room(w)} == wings]
    assert wrong == []


def test_neighbours_do_not_know_each_other():
    wrong = []
    for module, wanted, line in _inner_imports():
        if _room(module) == _room(wanted) == "endpoints":
            here, there = _neighbour(module), _neighbour(wanted)
            if there is not None and here != there:
                wrong.append(f"{module}:{line} imports {wanted}")
    assert wrong == []


def test_every_endpoint_module_is_a_neighbour_or_shared():
    found = {_neighbour(module) for module in MODULES if module.startswith("airgap.endpoints.")}
    assert found <= {*NEIGHBOURS, None}


def test_each_third_party_package_has_one_door():
    wrong = []
    for module, wanted, line in _all_imports():
        package = wanted.partition(".")[0]
        if package == "airgap" or package in sys.stdlib_module_names:
            continue
        if not re.fullmatch(DOORS.get(package, "$^"), module):
            wrong.append(f"{module}:{line} imports {wanted}")
    assert wrong == []


def test_connections_are_opened_in_endpoints_only():
    wrong = []
    for module, wanted, line in _all_imports():
        package = wanted.partition(".")[0]
        if package in NETWORK and not re.fullmatch(NETWORK[package], module):
            wrong.append(f"{module}:{line} imports {wanted}")
    assert wrong == []


def test_programs_are_run_without_a_shell():
    runners = {module for module, wanted, _ in _all_imports() if wanted == "subprocess"}
    calls = [node for m in runners for node in ast.walk(_tree(m)) if isinstance(node, ast.Call)]
    assert runners
    assert not [keyword for call in calls for keyword in call.keywords if keyword.arg == "shell"]


def test_nothing_runs_programs_or_unpacks():
    wrong = [
        f"{m}:{line} {w}"
        for m, w, line in _all_imports()
        if (w in NEVER or w.partition(".")[0] in NEVER) and not re.fullmatch(NARROW.get(w, "$^"), m)
    ]
    for module in MODULES:
        wrong += [f"{module}:{line} {name}()" for name, line in _calls(module) if name in NEVER_CALLED]
        wrong += [f"{module}:{line} {name}()" for name, line in _calls(module) if name.startswith("os.exec")]
    assert wrong == []


def test_the_installer_stands_alone():
    assert {w.partition(".")[0] for w, _ in _imports(STANDS_ALONE)} <= sys.stdlib_module_names


def test_only_verify_makes_a_verified_bundle():
    makers = {
        module
        for module in MODULES
        for name, _ in _calls(module)
        if name.rpartition(".")[2] == "VerifiedBundle"
    }
    assert makers == {"airgap.carry.verify"}


def _lengths(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """The length of each function in lines. One that holds a class is as long as the methods of that."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and not any(isinstance(n, ast.ClassDef) for n in node.body):
            yield f"{node.lineno} {node.name}", (node.end_lineno or 0) - node.lineno + 1


def test_files_and_functions_are_short():
    wrong = []
    for path in (*MODULES.values(), *TESTS):
        name, text = path.relative_to(PACKAGE.parent), path.read_text("utf-8")
        if (lines := len(text.splitlines())) > MAX_FILE:
            wrong.append(f"{name}: {lines} lines")
        wrong += [f"{name}:{f}: {n} lines" for f, n in _lengths(ast.parse(text)) if n > MAX_FUNCTION]
    assert wrong == []


def _at_import(node: ast.AST) -> Iterator[Import]:
    """The imports below `node` that run when its module is imported."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield from _imported(child)
        elif not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from _at_import(child)


def _loaded(module: str) -> set[str]:
    """The modules of ours that an import of `module` needs, packages too, except those that it is in itself."""
    wanted = [name for name, _ in _at_import(_tree(module)) if name in MODULES]
    parts = {name[:end] for name in wanted for end in (*(m.start() for m in re.finditer(r"\.", name)), None)}
    return {name for name in parts if not f"{module}.".startswith(f"{name}.")}


def test_every_module_can_be_imported_alone():
    """Where no imports go in a circle, each order of imports is as good as the one that is tried."""
    list(TopologicalSorter({module: _loaded(module) for module in MODULES}).static_order())
    modules = [name for name in MODULES if not name.endswith("__main__")]
    code = "import importlib, sys; [importlib.import_module(name) for name in sys.argv[1:]]"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *modules],
        capture_output=True, text=True, check=False, timeout=600,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def _mirrored(test: Path) -> bool:
    """`unit/P/test_A_B.py` is about `airgap/P/A_B.py`, `airgap/P/A/B.py`, or the topic B of `P/A.py` or `P/A/`."""
    room = PACKAGE / test.parent.relative_to(UNIT)
    name = test.stem.removeprefix("test_")
    if (room / f"{name}.py").exists() or (room / name).is_dir():
        return True
    package, _, _ = name.partition("_")
    module, _, _ = name.rpartition("_")
    return (room / package / "__init__.py").exists() or (room / f"{module}.py").exists()


def test_unit_tests_mirror_the_house():
    assert [str(test) for test in UNIT.rglob("test_*.py") if not _mirrored(test)] == []


TREE_LINE = re.compile(r"(?P<rails>[ │├└]*)(?P<name>[A-Z]\w+Error)(?: +(?P<code>\d+))?(?: .*)?")


def _drawn() -> dict[str, tuple[str, int]]:
    """The tree in the docstring of errors.py: for each class the class above it, and its exit code."""
    found: dict[str, tuple[str, int]] = {}
    above: list[tuple[int, str, int]] = []
    for line in inspect.getdoc(errors).splitlines():
        if match := TREE_LINE.fullmatch(line):
            depth = len(match["rails"])
            while above and above[-1][0] >= depth:
                above.pop()
            parent, inherited = (above[-1][1], above[-1][2]) if above else ("Exception", 1)
            code = int(match["code"] or inherited)
            found[match["name"]] = (parent, code)
            above.append((depth, match["name"], code))
    return found


def test_the_drawn_tree_of_errors_is_the_real_one():
    real = {
        name: (kind.__base__.__name__, kind.exit_code)
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, errors.AirgapError)
    }
    assert _drawn() == real
