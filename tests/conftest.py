"""Every test stays away from the home, the settings and the engine of the person who runs it."""

from pathlib import Path

import pytest

HERE = Path(__file__).parent
E2E = HERE / "e2e"
MEASURED = (E2E, HERE / "cli")
FOREIGN = ("DOCKER_HOST", "DOCKER_CONTEXT", "REGISTRY_AUTH_FILE", "SSH_AUTH_SOCK", "XDG_RUNTIME_DIR")
CLAIMS = ("SUDO_USER", "SUDO_UID", "DOAS_USER", "PKEXEC_UID")
"""What says who became this user: the tests may be run by sudo, too."""


@pytest.fixture(autouse=True)
def home(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty home folder; airgap's state and Docker's settings lie below it."""
    home = tmp_path_factory.mktemp("home")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("AIRGAP_HOME", str(home / "airgap"))
    monkeypatch.setenv("DOCKER_CONFIG", str(home / ".docker"))
    for name in ("CONFIG", "DATA", "STATE", "CACHE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(home / name.lower()))
    for name in (*FOREIGN, *CLAIMS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr("airgap.account.LOGIN_UID", home / "loginuid")
    return home


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keeps coverage out of the processes that this test starts.

    For tests of start-up time, of memory, and of faults that would hit coverage's own data file too.
    """
    monkeypatch.delenv("COVERAGE_PROCESS_START", raising=False)


@pytest.fixture(autouse=True)
def measured(request: pytest.FixtureRequest) -> None:
    """Coverage follows into processes where tests start the program as a user does, and nowhere else."""
    if not any(request.path.is_relative_to(folder) for folder in MEASURED):
        request.getfixturevalue("unmeasured")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(E2E):
            item.add_marker("e2e")
