"""Bundles that were accepted before: as bases of newer ones, and on purpose with `--back`."""

import itertools
import json
import shutil
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from airgap.audit.ledger import Ledger
from airgap.endpoints.server import ImageServer
from tests.cli.conftest import Gap, Side, files_of
from tests.support.images import Image, simple_image

APP = "example.com/app:1"


def images_of(serial: int) -> dict[str, Image]:
    """The images of a bundle: each has one more than the bundle before, and another `app`."""
    kept = {f"part{number}": simple_image(f"part{number}") for number in range(1, serial + 1)}
    return {"app": simple_image(f"app{serial}"), **kept}


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that `sticks` fills once, and copies for each test."""
    return tmp_path_factory.mktemp("packed") / "gap"


@pytest.fixture
def sticks(gap: Gap, packed: Path) -> list[Path]:
    """A full bundle and three deltas, each on the one before; all were loaded into `oci:first`."""
    made = [gap.stick / f"stack-{serial:04d}" for serial in range(1, 5)]
    if packed.exists():
        shutil.copytree(packed, gap.folder, dirs_exist_ok=True)
        return made
    for serial, bundle in enumerate(made, 1):
        path = gap.layout(**images_of(serial))
        since = ("--since", serial - 1) if serial > 1 else ()
        gap.online("pack", path, "--to", gap.stick, *since)
        gap.offline("load", bundle, "--to", f"oci:{gap.folder / 'first'}")
    shutil.copytree(gap.folder, packed)
    return made


def names_at(folder: Path) -> dict[str, str]:
    """The digests that names mean in an OCI directory tree."""
    return {
        f"{path.parent.relative_to(folder)}/{entry['annotations']['org.opencontainers.image.ref.name']}": entry[
            "digest"
        ]
        for path in folder.rglob("index.json")
        for entry in json.loads(path.read_text())["manifests"]
        if "org.opencontainers.image.ref.name" in entry.get("annotations", {})
    }


def mark(gap: Gap) -> dict[str, object]:
    value: dict[str, object] = json.loads((gap.offline.home / "received/stack.json").read_text())
    return value


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
def test_a_lost_target_is_rebuilt_from_all_bundles_in_any_order(
    gap: Gap, sticks: list[Path], order: tuple[int, ...]
) -> None:
    before, to = mark(gap), f"oci:{gap.folder / 'new'}"
    done = gap.offline("load", *(sticks[number] for number in order), "--to", to, "--json").json
    (bundle,) = done["bundles"]
    assert bundle["content_from"] == ["stack-0001", "stack-0002", "stack-0003"]
    assert {image["verdict"] for image in bundle["images"]} == {"loaded"}
    assert names_at(gap.folder / "new") == names_at(gap.folder / "first")
    assert mark(gap) == before
    assert gap.offline("load", sticks[3], "--to", to).out.startswith("IMAGE")


def test_what_is_only_content_is_said(gap: Gap, sticks: list[Path]) -> None:
    out = gap.offline("load", *sticks, "--to", f"oci:{gap.folder / 'new'}").out
    for serial in (1, 2, 3):
        assert f"stack-{serial:04d}: content only: names come with stack-0004\n" in out
    records = [r for r in gap.offline.records() if r["event"] == "verify" and r.get("base")]
    assert [record["bundle"]["serial"] for record in records] == [1, 2, 3]


def test_an_archive_has_everything(gap: Gap, sticks: list[Path]) -> None:
    archive = gap.folder / "all.tar"
    gap.offline("load", *sticks, "--to", f"archive:{archive}")
    assert gap.offline("load", sticks[3], "--to", f"archive:{gap.folder / 'x.tar'}", code=19).err
    assert archive.stat().st_size > 10_000


def test_only_some_of_the_bases_are_not_enough(gap: Gap, sticks: list[Path]) -> None:
    done = gap.offline("load", *sticks[1:], "--to", f"oci:{gap.folder / 'new'}", code=19)
    assert "the base is not at the target" in done.err
    assert not (gap.folder / "new").exists() or names_at(gap.folder / "new") == {}


def test_a_new_delta_with_the_old_bundles(gap: Gap, sticks: list[Path]) -> None:
    """The disk was lost, and the next bundle has come already."""
    gap.online("pack", gap.layout(**images_of(5)), "--to", gap.stick, "--since", "4")
    done = gap.offline(
        "load", gap.stick / "stack-0005", *sticks, "--to", f"oci:{gap.folder / 'new'}", "--json"
    )
    (bundle,) = done.json["bundles"]
    assert bundle["bundle"].endswith("stack-0005")
    assert mark(gap)["serial"] == 5
    assert len(names_at(gap.folder / "new")) == 6


def test_bundles_that_are_new_here_are_all_loaded_oldest_first(
    gap: Gap, sticks: list[Path], fresh: Side
) -> None:
    fingerprint = gap.online("trust", "show", "--json").json["fingerprint"]
    root = gap.online.home / "trust/1.root.json"
    fresh("trust", "install", root, "--fingerprint", fingerprint, "--site", "lab")
    done = fresh("load", *reversed(sticks), "--to", f"oci:{gap.folder / 'lab'}", "--json").json
    assert [Path(bundle["bundle"]).name for bundle in done["bundles"]] == [
        f"stack-{n:04d}" for n in range(1, 5)
    ]
    assert names_at(gap.folder / "lab") == names_at(gap.folder / "first")
    again = fresh("load", *sticks, "--to", f"oci:{gap.folder / 'lab2'}", "--json").json
    assert [len(bundle["content_from"]) for bundle in again["bundles"]] == [3]


# -- one older bundle alone


def test_stick_after_stick_only_the_newest_sets_names(gap: Gap, sticks: list[Path]) -> None:
    to, before = f"oci:{gap.folder / 'new'}", mark(gap)
    for number, stick in enumerate(sticks[:3], 1):
        done = gap.offline("load", stick, "--to", to, "--json").json
        assert {image["reason"] for image in done["images"]} == {"content only: names come with stack-0004"}
        assert {image["reference"].count("@") for image in done["images"]} == {1}
        assert gap.offline.ended() == ("load", "ok", 0), number
    assert not any(name.endswith(":1") for name in names_at(gap.folder / "new"))
    gap.offline("load", sticks[3], "--to", to)
    assert mark(gap) == before
    for stick in sticks[:3]:
        refused = gap.offline("load", stick, "--to", to, code=14)
        assert (
            "older than the last accepted bundle, and no content of it is missing at the target"
            in refused.err
        )
        assert "--back" in refused.err


def test_an_older_bundle_alone_is_not_for_archives(gap: Gap, sticks: list[Path]) -> None:
    gap.offline("load", sticks[0], "--to", f"archive:{gap.folder / 'x.tar'}", code=14)
    assert not (gap.folder / "x.tar").exists()


def test_an_older_bundle_that_no_accepted_one_needs_is_refused(gap: Gap, sticks: list[Path]) -> None:
    done = gap.offline("load", sticks[3], "--to", f"oci:{gap.folder / 'first'}")
    gap.online("pack", gap.layout(**images_of(5)), "--to", gap.stick, "--full")
    gap.offline("load", gap.stick / "stack-0005", "--to", f"oci:{gap.folder / 'first'}")
    done = gap.offline("load", sticks[3], "--to", f"oci:{gap.folder / 'new'}", code=14)
    assert "older than the last accepted bundle: stack-0004" in done.err
    assert "--back BUNDLE --reason TEXT" in done.err


# -- both memories must agree


def forget_envelope(gap: Gap) -> None:
    (gap.offline.home / "received/stack/0002.dsse.json").unlink()


def other_envelope(gap: Gap) -> None:
    folder = gap.offline.home / "received/stack"
    shutil.copy(folder / "0003.dsse.json", folder / "0002.dsse.json")


def broken_envelope(gap: Gap) -> None:
    (gap.offline.home / "received/stack/0002.dsse.json").write_bytes(b"{}")


@pytest.mark.parametrize("harm", [forget_envelope, other_envelope, broken_envelope])
def test_a_bundle_that_one_memory_lacks_is_refused(
    gap: Gap, sticks: list[Path], harm: Callable[[Gap], None]
) -> None:
    harm(gap)
    done = gap.offline("load", *sticks, "--to", f"oci:{gap.folder / 'new'}", code=14)
    assert "older than the last accepted bundle: stack-0002" in done.err
    assert not (gap.folder / "new").exists()
    gap.offline("load", sticks[1], "--back", "--reason", "x", "--to", f"oci:{gap.folder / 'new'}", code=14)


def test_an_envelope_alone_is_not_enough(gap: Gap, sticks: list[Path]) -> None:
    """Bundle 5 was skipped here; its envelope in the folder does not make it accepted."""
    for serial in (5, 6):
        gap.online("pack", gap.layout(**images_of(serial)), "--to", gap.stick, "--since", "4")
    gap.offline("load", gap.stick / "stack-0006", "--to", f"oci:{gap.folder / 'first'}")
    skipped = gap.stick / "stack-0005"
    refused = ("load", skipped, gap.stick / "stack-0006", "--to", f"oci:{gap.folder / 'new'}")
    gap.offline(*refused, code=14)
    shutil.copy(skipped / "bundle.dsse.json", gap.offline.home / "received/stack/0005.dsse.json")
    assert "older than the last accepted" in gap.offline(*refused, code=14).err
    for words in (("--back", "--reason", "x"), ()):
        gap.offline("load", skipped, *words, "--to", f"oci:{gap.folder / 'new'}", code=14)


def test_the_envelopes_of_accepted_bundles_are_kept(gap: Gap, sticks: list[Path]) -> None:
    for number, stick in enumerate(sticks, 1):
        kept = gap.offline.home / f"received/stack/{number:04d}.dsse.json"
        assert kept.read_bytes() == (stick / "bundle.dsse.json").read_bytes()


def test_a_base_that_is_damaged_fails_the_images_that_need_it(gap: Gap, sticks: list[Path]) -> None:
    layer = max((sticks[0] / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
    layer.write_bytes(layer.read_bytes()[:-1] + b"x")
    done = gap.offline("load", *sticks, "--to", f"oci:{gap.folder / 'new'}", "--json", code=3).json
    failed = [i["reference"] for i in done["bundles"][0]["images"] if i["verdict"] == "failed"]
    assert failed == ["example.com/part1:1"]
    assert len(names_at(gap.folder / "new")) == 4
    (sticks[0] / "more").write_text("")
    gap.offline("load", *sticks, "--to", f"oci:{gap.folder / 'newer'}", code=12)
    assert not (gap.folder / "newer").exists()
    assert gap.offline.ended() == ("verify", "refused", 12)


# -- receive and serve


def test_receive_takes_what_a_newer_one_needs(gap: Gap, sticks: list[Path]) -> None:
    into = gap.folder / "copies"
    gap.offline("receive", *reversed(sticks), "--into", into)
    assert sorted(path.name for path in into.iterdir()) == [stick.name for stick in sticks]
    alone = gap.folder / "alone"
    gap.offline("receive", sticks[0], "--into", alone)
    assert files_of(alone / "stack-0001") == files_of(sticks[0])


def test_receive_refuses_what_no_newer_one_needs(gap: Gap, sticks: list[Path]) -> None:
    gap.online("pack", gap.layout(**images_of(5)), "--to", gap.stick, "--full")
    gap.offline("load", gap.stick / "stack-0005", "--to", f"oci:{gap.folder / 'first'}")
    done = gap.offline("receive", sticks[3], "--into", gap.folder / "copies", code=14)
    assert "older than the last accepted" in done.err


@pytest.mark.parametrize("order", list(itertools.permutations(range(4)))[::5])
def test_serve_takes_the_set_and_has_the_newest_names(
    gap: Gap, sticks: list[Path], order: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    shown = []

    def stop(self: ImageServer) -> None:
        shown.append(list(self.repositories))
        self.close()

    monkeypatch.setattr(ImageServer, "serve_forever", stop)
    done = gap.offline("serve", *(sticks[number] for number in order), "--port", "0")
    assert {name for name in shown[0] if "/" in name} == {f"example.com/{name}" for name in images_of(4)}
    assert "stack-0001: content only: names come with stack-0004" in done.err
    assert "not served" not in done.out
    gap.offline("serve", sticks[0], "--port", "0", code=14)


# -- back, on purpose


def test_back_moves_the_names_and_leaves_the_mark(gap: Gap, sticks: list[Path]) -> None:
    before, to = mark(gap), gap.folder / "first"
    names = names_at(to)
    words = ("--back", "--reason", "CHG-7: app 4 crashes", "--to", f"oci:{to}")
    done = gap.offline("load", sticks[1], *words, "--json").json
    app = next(image for image in done["images"] if image["reference"] == APP)
    assert app["verdict"] == "loaded"
    assert app["reason"] == "back from stack-0004: CHG-7: app 4 crashes"
    assert mark(gap) == before
    assert names_at(to) != names
    receipt = gap.offline("receipt", "show", done["receipt"], "--json").json["receipts"][0]
    assert receipt["step_back"] == {"reason": "CHG-7: app 4 crashes", **before}
    assert "step back from stack-0004: CHG-7" in gap.offline("receipt", "show", done["receipt"]).out
    overrides = [r for r in gap.offline.records() if r["event"] == "override"]
    assert [(r["change"], r["reason"], r["bundle"]["serial"]) for r in overrides] == [
        ("back", "CHG-7: app 4 crashes", 2)
    ]
    assert any(entry["event"] == "override" for entry in gap.offline("audit", "report", "--json").json["odd"])
    assert "CHG-7: app 4 crashes" in gap.offline("audit", "report").out
    gap.offline("load", sticks[3], "--to", f"oci:{to}")
    assert names_at(to) == names


def test_an_expired_bundle_loads_with_back_only(gap: Gap, sticks: list[Path]) -> None:
    later = datetime.now(UTC) + timedelta(days=500)
    Ledger(gap.offline.home / "ledger.jsonl", site="plant-7", clock=lambda: later).append("verify", "note")
    to = f"oci:{gap.folder / 'new'}"
    for words in (sticks, sticks[:1], sticks[3:]):
        done = gap.offline("load", *words, "--to", to, code=14)
        assert "the bundle has expired" in done.err
        assert "--back BUNDLE --reason TEXT" in done.err
    gap.offline("load", *sticks, "--back", "--reason", "disk lost", "--to", to)
    assert names_at(gap.folder / "new") == names_at(gap.folder / "first")


def test_the_sender_reads_the_receipt_of_a_step_back(gap: Gap, sticks: list[Path]) -> None:
    site = json.loads((gap.offline.home / "site.json").read_text())["site"]
    keyid = gap.offline("key", "list", "--json").json["site"]["keyid"]
    gap.online("trust", "add-site", site, "--key", gap.offline.home / "site.pub", "--keyid", keyid)
    root = max(gap.online.home.glob("trust/*.root.json"))
    gap.offline("trust", "install", root)
    words = ("--back", "--reason", "CHG-7", "--to", f"oci:{gap.folder / 'first'}", "--json")
    receipt = gap.offline("load", sticks[1], *words).json["receipt"]
    done = gap.online("receipt", "import", receipt, "--json").json["receipts"][0]
    assert done["alarms"] == []
    assert "it is a step back, from serial 4 of epoch 1: CHG-7" in done["unconfirmed"]
    alone = gap.offline("load", sticks[0], "--to", f"oci:{gap.folder / 'new'}", "--json").json["receipt"]
    done = gap.online("receipt", "import", alone, "--json").json["receipts"][0]
    assert (done["alarms"], done["step_back"]) == ([], None)


def test_back_to_a_delta_with_its_base(gap: Gap, sticks: list[Path]) -> None:
    to = f"oci:{gap.folder / 'new'}"
    gap.offline("load", sticks[1], "--back", "--reason", "x", "--to", to, code=19)
    done = gap.offline("load", sticks[1], sticks[0], "--back", "--reason", "x", "--to", to, "--json").json
    assert [bundle["content_from"] for bundle in done["bundles"]] == [["stack-0001"]]
    assert len(names_at(gap.folder / "new")) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--back"], "--reason is missing"),
        (["--reason", "x"], "--reason is only for --back"),
        (["--back", "--reason", "   "], "not a reason"),
        (["--back", "--reason", "a\nb"], "not a reason"),
        (["--back", "--reason", "\x1b[2J"], "not a reason"),
        (["--back", "--reason", "x" * 501], "not a reason"),
    ],
)
def test_bad_reasons(gap: Gap, words: list[str], message: str) -> None:
    bundle = gap.pack()
    done = gap.offline("load", bundle, *words, "--to", f"oci:{gap.folder / 'x'}", code=2)
    assert message in done.err
    assert not (gap.folder / "x").exists()


def test_back_is_not_for_a_bundle_that_is_new_here(gap: Gap) -> None:
    bundle = gap.pack()
    done = gap.offline("load", bundle, "--back", "--reason", "x", "--to", f"oci:{gap.folder / 'x'}", code=14)
    assert "not accepted here before: stack-0001" in done.err
    assert not (gap.offline.home / "received/stack.json").exists()
