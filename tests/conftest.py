"""Every test stays away from the home, the settings and the engine of the person who runs it."""

import contextlib
import faulthandler
import gc
import itertools
import math
import re
import shutil
import signal
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import hypothesis
import pytest
import typer
from _pytest.faulthandler import fault_handler_stderr_fd_key

from tests.support.kits import FetchedOnce

# A shell starts what runs in the background with Ctrl-C ignored, and whatever that starts would ignore it too.
signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.settings.register_profile(
    "airgap", deadline=None, max_examples=50, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile(
    "airgap"
)  # no test fails because the machine is slow; tests.fuzz searches longer

HERE = Path(__file__).parent
E2E = HERE / "e2e"
MEASURED = (E2E, HERE / "cli")
ENGINES = ("docker20", "docker28", "docker28c", "containerd16", "containerd2", "podman4", "podman5")
FAILED = pytest.StashKey[bool]()
ARMED = pytest.StashKey[float]()
"""When the end of the process was put off last, in seconds of the monotonic clock."""
ARMING_SECONDS = 120
HANGING_SECONDS = 2100
"""More than any wait of the tests takes until it gives up, so that this says first what did not come."""
ENDING_SECONDS = 2400
"""For a test that could not be interrupted: its process ends, with all stacks."""
MAX_ID = 200
"""Characters of a parameter that names its test."""
CHEAP = {"lean", "loaded", "sid", "skopeo", "openssl", "sealed"}
"""Fixtures of a module or a session that each process may as well make for itself."""
FOREIGN = (
    "DOCKER_HOST", "DOCKER_CONTEXT", "DOCKER_AUTH_CONFIG", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH",
    "CONTAINER_HOST", "CONTAINER_CONNECTION", "REGISTRY_AUTH_FILE", "SSH_AUTH_SOCK", "XDG_RUNTIME_DIR",
    "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
)  # fmt: skip
CLAIMS = ("SUDO_USER", "SUDO_UID", "DOAS_USER", "PKEXEC_UID")
"""What says who became this user: the tests may be run by sudo, too."""


@pytest.fixture(autouse=True, scope="session")
def commands_are_built_once() -> Iterator[None]:
    """A process runs one command; here typer would build each of them again whenever it is used."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.main, "get_command", cache(typer.main.get_command))
        yield


@pytest.fixture(scope="session")
def homes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Paths of homes. `mktemp` would read the names of all earlier ones for each test."""
    folder = tmp_path_factory.mktemp("homes")
    return (folder / str(number) for number in itertools.count())


@pytest.fixture(autouse=True)
def home(request: pytest.FixtureRequest, homes: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder; airgap's state and Docker's settings lie below it.

    Where no program but ours connects, certificates are issued by the tests: those of the system, which every
    client of a registry would read in 40 ms, are left out. Coverage follows into processes where tests start the
    program as a user does, and nowhere else. One fixture for all of this: for each test, each fixture takes time.
    """
    home = next(homes)
    home.mkdir(mode=0o700)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AIRGAP_HOME", str(home / "airgap"))
    monkeypatch.setenv("DOCKER_CONFIG", str(home / ".docker"))
    for name in ("CONFIG", "DATA", "STATE", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
    for name in (*FOREIGN, *CLAIMS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("airgap.account.LOGIN_UID", home / "loginuid")
    if not _is_below(request.path, E2E):
        monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    if not any(_is_below(request.path, folder) for folder in MEASURED):
        monkeypatch.delenv("COVERAGE_PROCESS_START", raising=False)
    return home


@pytest.fixture
def tmp_path(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As pytest's own, which leaves a link for each test, and reads the names of all earlier ones each time."""
    folder = tmp_path_factory.getbasetemp()
    name = re.sub(r"\W", "_", request.node.name)[:30]
    for number in itertools.count():
        with contextlib.suppress(FileExistsError):
            (folder / f"{name}{number}").mkdir(mode=0o700)
            break
    return folder / f"{name}{number}"


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps coverage out of the processes that this test starts.

    For tests of start-up time, of memory, and of faults that would hit coverage's own data file too.
    """
    monkeypatch.delenv("COVERAGE_PROCESS_START", raising=False)


@pytest.fixture(scope="session")
def fetched(tmp_path_factory: pytest.TempPathFactory) -> FetchedOnce:
    return FetchedOnce(tmp_path_factory.mktemp("fetched"))


@pytest.fixture
def pip_once(fetched: FetchedOnce, monkeypatch: pytest.MonkeyPatch) -> None:
    """For tests of kits that are not about pip: pip takes half a second each time."""
    monkeypatch.setattr("airgap.online.kit.fetch_wheels", fetched)


def _end_hanging_test(*_: object) -> None:
    pytest.fail(f"the test hangs: it has run for {HANGING_SECONDS} seconds; the traceback shows where")


signal.signal(signal.SIGALRM, _end_hanging_test)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """End a test that waits for ever; one that cannot be interrupted is ended with its process."""
    signal.alarm(HANGING_SECONDS)
    _end_process_later(item.config)
    try:
        return (yield)
    finally:
        signal.alarm(0)


def _end_process_later(config: pytest.Config) -> None:
    """Not for each test, as pytest's `faulthandler_timeout` does it: each time is a thread to start and to wait for."""
    now = time.monotonic()
    if now > config.stash.get(ARMED, -math.inf) + ARMING_SECONDS:
        config.stash[ARMED] = now
        stderr = config.stash[fault_handler_stderr_fd_key]
        faulthandler.dump_traceback_later(ENDING_SECONDS, file=stderr, exit=True)


def pytest_unconfigure() -> None:
    faulthandler.cancel_dump_traceback_later()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    if report.failed:
        item.stash[FAILED] = True
        item.config.stash[ARMED] = -math.inf  # pytest stops the clock for a debugger
    return report


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Remove the folder of a test that passed, as the folders of all fill the memory; after all fixtures, as a test
    may have replaced what removes it.
    """
    yield
    folder = (getattr(item, "funcargs", None) or {}).get("tmp_path")
    if folder is not None and not item.stash.get(FAILED, False):
        shutil.rmtree(folder, ignore_errors=True)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """The same names in every process, as the workers need: a gzip file holds the time, a signature is of a new
    key, and a set has no order.
    """
    if isinstance(val, (str, bytes)) and (
        len(val) > MAX_ID or (isinstance(val, bytes) and b"\x1f\x8b" in val)
    ):
        return argname
    if isinstance(val, (set, frozenset)):
        return " ".join(sorted(map(str, val)))
    return None


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Collect without garbage collection: each worker makes a million objects here, and all of them stay."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.enable()


@pytest.hookimpl(wrapper=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> Iterator[None]:
    """As a wrapper, so that the groups are there before xdist reads them."""
    for item in items:
        if _is_below(item.path, E2E):
            item.add_marker("e2e")
        if item.get_closest_marker("xdist_group") is None:
            item.add_marker(_group(item))
    return (yield)


@cache
def _is_below(path: Path, folder: Path) -> bool:
    """Asked for each of ten thousand tests, of a few hundred files."""
    return path.is_relative_to(folder)


def _group(item: pytest.Item) -> pytest.MarkDecorator:
    """What runs in one process: the tests of a file; of the end-to-end tests those that share an engine or what
    their module makes, so that neither is made twice, and each of the others by itself.
    """
    if not _is_below(item.path, E2E):
        return _file_group(item.path)
    parameters = getattr(getattr(item, "callspec", None), "params", {})
    asked = {*getattr(item, "fixturenames", ()), *map(str, parameters.values())}
    if (engine := next((engine for engine in ENGINES if engine in asked), None)) is not None:
        return pytest.mark.xdist_group(engine)
    if _shares(item):
        return _file_group(item.path)
    return pytest.mark.xdist_group(item.nodeid.replace("@", " "))


@cache
def _file_group(path: Path) -> pytest.MarkDecorator:
    """One mark for all tests of a file."""
    return pytest.mark.xdist_group(str(path.relative_to(HERE)))


def _shares(item: pytest.Item) -> bool:
    """Whether it uses a fixture of ours that lives longer than the test, and takes long to make."""
    return any(
        last.scope != "function" and last.func.__module__.startswith("tests.e2e") and name not in CHEAP
        for name, [*_, last] in item._fixtureinfo.name2fixturedefs.items()
    )
