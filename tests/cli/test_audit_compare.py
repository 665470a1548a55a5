"""audit compare: what is at a target that no bundle brought, what is missing there, and names that moved."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import Gap
from tests.support.images import simple_image, write_layout
from tests.support.registry import FakeRegistry

API, WEB = "example.com/api:1", "example.com/web:1"


def states(gap: Gap, target: str, *words: str, code: int = 21) -> dict[str, str]:
    shown = gap.offline("audit", "compare", "--to", target, *words, "--json", code=code).json
    assert (shown["error"] is None) == (code == 0)
    return {image["reference"]: image["state"] for image in shown["images"]}


def index(folder: Path) -> Any:
    return json.loads((folder / "index.json").read_text())


@pytest.fixture
def loaded(gap: Gap) -> tuple[Gap, str]:
    """A layout into which a bundle was loaded."""
    target = f"oci:{gap.folder}/out"
    gap.offline("load", gap.pack(), "--to", target)
    return gap, target


def test_what_was_loaded_agrees(loaded: tuple[Gap, str]) -> None:
    gap, target = loaded
    before = gap.offline.records()
    assert states(gap, target, code=0) == {API: "as loaded", WEB: "as loaded"}
    assert gap.offline("audit", "compare", "--to", target).out == (
        f"{target}: 2 of 2 images and names agree with the receipts\n"
    )
    assert API in gap.offline("audit", "compare", "--to", target, "--all").out
    assert gap.offline.records() == before  # looking is not recorded


def test_each_difference_is_named(loaded: tuple[Gap, str]) -> None:
    """A stranger's image, a name that was moved to it, one that was removed, and a new name of a known image."""
    gap, target = loaded
    out = gap.folder / "out"
    strange = write_layout(gap.folder / "strange", {"example.com/miner:1": simple_image("miner")})
    shutil.copytree(strange / "blobs", out / "blobs", dirs_exist_ok=True)
    (miner,) = index(strange)["manifests"]
    api, web = sorted(index(out)["manifests"], key=lambda entry: str(entry["annotations"]))
    renamed = {**web, "annotations": {"io.containerd.image.name": "example.com/copy:1"}}
    moved = {**miner, "annotations": api["annotations"]}
    (out / "index.json").write_text(json.dumps({**index(out), "manifests": [miner, moved, renamed]}))
    assert states(gap, target) == {
        "example.com/miner:1": "unexplained",
        API: "moved",
        WEB: "missing",
        "example.com/copy:1": "explained",
    }
    done = gap.offline("audit", "compare", "--to", target, code=21)
    assert [line.split()[:2] for line in done.out.splitlines()[1:4]] == [
        ["example.com/miner:1", "unexplained"],
        [API, "moved"],
        [WEB, "missing"],
    ]
    assert "stack-0001" in done.out
    assert "got 1 unexplained, 1 moved, 1 missing" in done.err
    ignored = states(gap, target, "--ignore", "example.com/m*", "--ignore", API, "--ignore", WEB, code=0)
    assert ignored == {"example.com/copy:1": "explained"}


def test_the_last_load_counts(loaded: tuple[Gap, str]) -> None:
    """A name that a newer bundle moved on purpose has not drifted, and its old image is explained."""
    gap, target = loaded
    path = gap.layout(api=simple_image("newer"))
    gap.online("pack", path, "--to", gap.stick)
    gap.offline("load", gap.stick / "stack-0002", "--to", target)
    assert states(gap, target, code=0) == {API: "as loaded", WEB: "as loaded"}


def test_a_folder_of_archives(gap: Gap) -> None:
    folder = gap.folder / "images"
    target = f"k3s:{folder}"
    gap.offline("load", gap.pack(), "--to", target)
    assert states(gap, target, code=0) == {API: "as loaded", WEB: "as loaded"}
    next(folder.glob("*api*")).unlink()
    (folder / "pause.tar.zst").write_bytes(b"\x28\xb5\x2f\xfd...")
    (folder / "link.tar").symlink_to("/etc/passwd")
    assert states(gap, target) == {
        API: "missing",
        WEB: "as loaded",
        "pause.tar.zst": "unexplained",
        "link.tar": "unexplained",
    }


def test_an_archive(gap: Gap) -> None:
    target = f"archive:{gap.folder}/out.tar"
    gap.offline("load", gap.pack(), "--to", target)
    assert states(gap, target, code=0) == {API: "as loaded", WEB: "as loaded"}


def test_a_target_without_a_receipt(loaded: tuple[Gap, str]) -> None:
    """Its images may still be explained, by loads into another one."""
    gap, target = loaded
    (gap.folder / "out").rename(gap.folder / "other")
    done = gap.offline("audit", "compare", "--to", f"oci:{gap.folder}/other")
    assert f"there is no receipt of a load to oci:{gap.folder}/other; there are some for {target}" in done.out


def test_receipts_that_were_changed_explain_nothing(loaded: tuple[Gap, str]) -> None:
    gap, target = loaded
    (receipt,) = (gap.offline.home / "receipts").glob("*.json")
    raw = receipt.read_bytes()
    receipt.write_bytes(raw.replace(b'"sig":"M', b'"sig":"N'))
    done = gap.offline("audit", "compare", "--to", target, code=21)
    assert "not compared: " in done.out
    assert "2 unexplained" in done.err
    receipt.unlink()
    assert (
        "a receipt of stack-0001 is missing: " in gap.offline("audit", "compare", "--to", target, code=21).out
    )


@pytest.mark.parametrize(
    ("target", "code", "message"),
    [
        ("oci:nowhere", 18, "nowhere"),
        ("k3s:nowhere", 11, "cannot list"),
        ("archive:nowhere.tar", 11, "nowhere.tar"),
        ("docker:unix:///nowhere.sock", 18, "the engine does not answer"),
        ("floppy", 2, "not a target"),
    ],
)
def test_what_cannot_be_listed_is_not_taken_for_empty(
    gap: Gap, target: str, code: int, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    done = gap.offline("audit", "compare", "--to", target, code=code)
    assert message in done.err
    assert done.out == ""


def test_a_registry_that_does_not_list(gap: Gap) -> None:
    """What was loaded is asked for by name, and the output says that nothing else was looked at."""
    with FakeRegistry() as registry:
        target = f"registry:{registry.host}"
        gap.offline("load", gap.pack(), "--to", target)
        done = gap.offline("audit", "compare", "--to", target, "--json").json
        assert {image["state"] for image in done["images"]} == {"as loaded"}
        assert "only what was loaded is compared, as it cannot be listed: " in done["notes"][0]
