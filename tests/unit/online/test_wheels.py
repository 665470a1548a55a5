"""pip itself runs here, over folders of stand-ins, and over an index that is not there."""

import importlib.util
import sysconfig

import pytest

from airgap.errors import EndpointError, FormatError, NotFoundError, UnavailableError, UsageError
from airgap.kit.statement import KitTarget
from airgap.online.wheels import PLATFORMS, PYTHONS, Wheel, environment, fetch_wheels, tags, targets_of
from tests.support.kits import write_stand_in

OLD, NEW = KitTarget("linux-x86_64", "3.11"), KitTarget("linux-x86_64", "3.13")
ARM, MUSL = KitTarget("linux-aarch64", "3.12"), KitTarget("musllinux-x86_64", "3.12")


@pytest.fixture
def shelf(tmp_path):
    (tmp_path / "shelf").mkdir()
    return tmp_path / "shelf"


@pytest.fixture
def out(tmp_path):
    (tmp_path / "out").mkdir()
    return tmp_path / "out"


def projects(wheels: list[Wheel]) -> set[str]:
    return {wheel.project for wheel in wheels}


class TestTargets:
    def test_all_of_them(self):
        found = targets_of(["musllinux-aarch64", "linux-x86_64", "linux-x86_64"], ["3.13", "3.12", "3.13"])
        assert [str(target) for target in found] == [
            "linux-x86_64-py3.12", "linux-x86_64-py3.13", "musllinux-aarch64-py3.12", "musllinux-aarch64-py3.13",
        ]  # fmt: skip

    def test_unless_told(self, monkeypatch):
        monkeypatch.setattr(sysconfig, "get_platform", lambda: "linux-aarch64")
        assert targets_of((), ()) == tuple(KitTarget("linux-aarch64", python) for python in PYTHONS)

    @pytest.mark.parametrize("platform", ["", "win-amd64", "linux-mips", "linux/amd64", "--help"])
    def test_unknown_platform(self, platform):
        with pytest.raises(UsageError, match="unknown platform") as caught:
            targets_of([platform], ())
        assert all(name in caught.value.want for name in PLATFORMS)

    def test_this_machine_is_none(self, monkeypatch):
        monkeypatch.setattr(sysconfig, "get_platform", lambda: "macosx-14-arm64")
        with pytest.raises(UsageError, match="unknown platform") as caught:
            targets_of((), ())
        assert "--platform" in caught.value.hint

    @pytest.mark.parametrize("python", ["", "3", "3.10", "2.7", "3.11.2", "4.0", "3.11 --help"])
    def test_unknown_python(self, python):
        with pytest.raises(UsageError, match="airgap does not run on this Python"):
            targets_of((), [python])


class TestWheel:
    @pytest.mark.parametrize(
        ("name", "project", "version", "line"),
        [
            ("rich-15.0-py3-none-any.whl", "rich", "15.0", "rich==15.0"),
            ("typing_extensions-4.1-py3-none-any.whl", "typing_extensions", "4.1", "typing-extensions==4.1"),
            ("PyYAML-6.0+x-1b-cp311-cp311-manylinux_2_17_x86_64.whl", "PyYAML", "6.0+x", "pyyaml==6.0+x"),
        ],
    )
    def test_names(self, tmp_path, name, project, version, line):
        (tmp_path / name).write_bytes(b"")
        wheel = Wheel.at(tmp_path / name)
        assert (wheel.project, wheel.version) == (project, version)
        assert wheel.requirement == (
            f"{line} --hash=sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        )

    @pytest.mark.parametrize(
        "name", ["rich.tar.gz", "rich-1.whl", "a b-1-py3-none-any.whl", "x-1-py3-none-any.whl\n"]
    )
    def test_other_files(self, tmp_path, name):
        with pytest.raises(FormatError, match="not the name of a wheel"):
            Wheel.at(tmp_path / name)


def test_a_platform_accepts_the_wheels_of_older_ones():
    assert tags("linux-x86_64")[0] == "manylinux_2_28_x86_64"
    assert {"manylinux_2_17_x86_64", "manylinux2014_x86_64"} <= set(tags("linux-x86_64"))
    assert not [tag for tag in tags("linux-x86_64") if "2_29" in tag or "2_34" in tag]
    assert tags("musllinux-aarch64") == ["musllinux_1_2_aarch64", "musllinux_1_1_aarch64"]


class TestFetch:
    def test_what_is_needed_with_what_that_needs(self, shelf, out):
        write_stand_in(shelf, "top", "below>=1")
        write_stand_in(shelf, "below")
        write_stand_in(shelf, "other")
        found = fetch_wheels(OLD, ["top"], shelf, out)
        assert projects(found) == {"top", "below"}
        assert all(wheel.path.parent == out for wheel in found)

    @pytest.mark.parametrize(
        ("target", "needed"),
        [(OLD, {"old", "intel"}), (NEW, {"new", "intel"}), (ARM, {"arm"}), (MUSL, {"intel"})],
    )
    def test_markers_are_those_of_the_target(self, shelf, out, target, needed):
        markers = {
            "old": "python_version < '3.12'", "new": "python_full_version >= '3.13'",
            "arm": "platform_machine == 'aarch64'", "intel": "platform_machine == 'x86_64'",
            "windows": "sys_platform == 'win32'", "pypy": "platform_python_implementation == 'PyPy'",
        }  # fmt: skip
        for name in markers:
            write_stand_in(shelf, name)
        write_stand_in(shelf, "top", *(f"{name} ; {marker}" for name, marker in markers.items()))
        assert projects(fetch_wheels(target, ["top"], shelf, out)) == {"top", *needed}

    def test_native_wheels_are_those_of_the_target(self, shelf, out):
        for python in ("311", "313"):
            for platform in (
                "manylinux_2_17_x86_64",
                "manylinux_2_28_aarch64",
                "musllinux_1_2_x86_64",
                "win_amd64",
            ):
                write_stand_in(shelf, "native", tags=f"cp{python}-cp{python}-{platform}")
        [wheel] = fetch_wheels(NEW, ["native"], shelf, out)
        assert wheel.path.name == "native-99.0-cp313-cp313-manylinux_2_17_x86_64.whl"

    @pytest.mark.parametrize(
        "tag", ["cp311-cp311-manylinux_2_34_x86_64", "cp311-cp311-linux_x86_64", "cp312-abi3-any"]
    )
    def test_none_that_fits(self, shelf, out, tag):
        write_stand_in(shelf, "native", tags=tag)
        with pytest.raises(NotFoundError, match="satisfies the requirement native") as caught:
            fetch_wheels(OLD, ["native"], shelf, out)
        assert "--wheels" in caught.value.hint

    def test_nothing_is_built(self, shelf, out):
        (shelf / "source-1.0.tar.gz").write_bytes(b"")
        with pytest.raises(NotFoundError):
            fetch_wheels(OLD, ["source"], shelf, out)

    def test_words_of_pip_are_no_names(self, shelf, out):
        with pytest.raises(EndpointError, match="--version"):
            fetch_wheels(OLD, ["--version"], shelf, out)

    def test_no_index(self, out, monkeypatch):
        monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
        monkeypatch.setenv("PIP_INDEX_URL", "http://user:hidden@127.0.0.1:9/simple")
        monkeypatch.setenv("PIP_RETRIES", "1")
        monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
        with pytest.raises(UnavailableError, match="pip cannot get the wheels") as caught:
            fetch_wheels(OLD, ["rich"], None, out)
        assert "pip config list" in caught.value.hint
        assert "hidden" not in str(caught.value)

    def test_pip_that_does_not_end(self, shelf, out):
        with pytest.raises(UnavailableError, match="pip took too long") as caught:
            fetch_wheels(OLD, ["rich"], shelf, out, 0.01)
        assert "--wheels" in caught.value.hint

    def test_no_pip(self, out, monkeypatch):
        monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
        with pytest.raises(UsageError, match="pip is not installed beside airgap"):
            fetch_wheels(OLD, ["rich"], None, out)


def test_the_environment_names_all_that_markers_may_ask():
    from packaging.markers import default_environment

    assert environment(OLD).keys() == default_environment().keys()
