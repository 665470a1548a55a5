"""Volumes that are joined into one folder."""

from pathlib import Path

import pytest

from airgap.bundle.contents import ENVELOPE_FILE
from tests.cli.conftest import Gap, files_of
from tests.cli.volumes.commands import PROOF, Terminal, other_bundle, questions, receive, some, whole_of
from tests.support.cut import BIG, TITLE, TOP, VOLUME_SIZE, part, stamps, volumes
from tests.support.damage import flip


def test_volumes_are_put_together_at_once(gap: Gap) -> None:
    words = ("receive", *some(gap, 2, 3, 1), "--into", gap.folder / "x", "--json")
    [value] = gap.offline(*words).json["bundles"]
    assert (
        value.keys()
        == {"bundle", "volumes", "statement_sha256", "sender_name", "bytes", "blobs_written"} | PROOF
    )
    assert (value["bundle"], value["blobs_written"]) == (str(gap.folder / "x" / TITLE), 7)
    assert files_of(gap.folder / "x" / TITLE) == files_of(whole_of(gap))
    assert gap.offline.ended() == ("receive", "ok", 0)
    assert gap.offline(*words).json["bundles"][0]["blobs_written"] == 0


def test_volumes_are_put_together_one_call_each(gap: Gap) -> None:
    into = gap.folder / "x" / TITLE
    done = receive(gap, 1, code=19)
    assert f"volumes are missing: {TITLE}, want volume 2, 3 of 3, got volume 1\n" in done.err
    assert "hint: the copied content is kept: run the same command again with the next volume" in done.err
    assert gap.offline.ended() == ("receive", "failed", 19)
    done = gap.offline("verify", into, code=19)
    assert "if it is a copy, run the same `receive`, `repack` or `send`" in done.err
    kept = stamps(into)
    assert f"{TITLE}/{TOP.path}" in kept
    done = receive(gap, 2, code=19)
    assert f"a volume is missing: {TITLE}, want volume 3 of 3, got volume 2\n" in done.err
    done = receive(gap, 3)
    assert done.out == f"complete: {into} (8.5 MB, 1 blob written)\n"
    assert files_of(into) == files_of(whole_of(gap))
    assert all(stamps(into)[name] == kept[name] for name in kept if not name.endswith(".part"))
    assert (
        receive(gap, 1, 2, 3).out == f"complete: {into} (8.5 MB, every blob was there already, and correct)\n"
    )
    gap.offline("audit", "verify")


@pytest.mark.parametrize("first", [1, 2, 3])
def test_receive_names_the_volume_that_it_needs_next(gap: Gap, first: int) -> None:
    """What a part is the continuation of must be there first; what is asked for always leads to the end."""
    done = receive(gap, first, code=19)
    for _ in range(6):
        wanted = int(done.err.partition("want volume ")[2][0])
        done = gap.offline(
            "receive", *some(gap, wanted), "--into", gap.folder / "x", code=19 if wanted < 3 else 0
        )
        if wanted == 3:
            break
    assert files_of(gap.folder / "x" / TITLE) == files_of(whole_of(gap))


def test_receive_asks_at_a_terminal(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(str(some(gap, 2)[0]), str(gap.folder / "c")))
    done = receive(gap, 1)
    assert questions(done) == ["2", "3"]
    assert files_of(gap.folder / "x" / TITLE) == files_of(whole_of(gap))


def test_receive_goes_on_inside_a_part(gap: Gap) -> None:
    """Broken off in the middle of the second volume: what is durable of the layer is read, and kept."""
    receive(gap, 1, code=19)
    partial = gap.folder / "x" / TITLE / f"{BIG.path}.part"
    with partial.open("ab") as file:
        file.write(part(gap.folder, 2).read_bytes()[:1000])
    inode = partial.stat().st_ino
    receive(gap, 2, code=19)
    assert partial.stat().st_ino == inode
    receive(gap, 3)
    assert (gap.folder / "x" / TITLE / BIG.path).stat().st_ino == inode
    assert files_of(gap.folder / "x" / TITLE) == files_of(whole_of(gap))


def test_a_part_that_is_wrong_is_named_and_not_kept(gap: Gap) -> None:
    flip(part(gap.folder, 2), 3)
    receive(gap, 1, code=19)
    done = receive(gap, 2, code=12)
    assert f"wrong digest: {part(gap.folder, 2)}, want " in done.err
    assert "\nhint: write the damaged files again with `airgap repair` from another copy" in done.err
    assert not (gap.folder / "x" / TITLE / ENVELOPE_FILE).exists()
    flip(part(gap.folder, 2), 3)  # a better reader of the same medium
    done = receive(gap, 1, 2, 3)
    assert files_of(gap.folder / "x" / TITLE) == files_of(whole_of(gap))


def test_what_was_received_wrong_is_found_when_it_goes_on(gap: Gap) -> None:
    receive(gap, 1, code=19)
    flip(gap.folder / "x" / TITLE / f"{BIG.path}.part", 44)
    flip(gap.folder / "x" / TITLE / TOP.path)
    receive(gap, 1, 2, 3)
    assert files_of(gap.folder / "x" / TITLE) == files_of(whole_of(gap))


def test_all_that_is_wrong_is_told(gap: Gap) -> None:
    flip(part(gap.folder, 2), 3)
    flip(volumes(gap.folder)[0] / TOP.path)
    done = receive(gap, 1, 2, 3, code=12)
    assert sum(line.startswith("wrong: wrong digest: ") for line in done.err.splitlines()) == 2
    assert f"error: the bundle is damaged: {volumes(gap.folder)[0]}, got 2 wrong blobs\n" in done.err


@pytest.mark.parametrize("form", ["folder", "tar"])
def test_receive_copies_what_is_not_cut(gap: Gap, form: str) -> None:
    bundle = whole_of(gap)
    if form == "tar":
        path = gap.manifest("{oci: source, ref: 'example.com/api:1'}", name="single")
        bundle = Path(gap.online("pack", path, "--to", gap.folder / "t", "--tar", "--json").json["bundle"])
    done = gap.offline("receive", bundle, "--into", gap.folder / "x", "--json").json
    gap.offline("verify", done["bundles"][0]["bundle"])


def test_receive_takes_several_bundles(gap: Gap) -> None:
    others = other_bundle(gap)
    words = ("--into", gap.folder / "x", "--json")
    done = gap.offline("receive", others[1], *some(gap, 1, 3), others[0], *some(gap, 2), *words).json
    assert [Path(each["bundle"]).name for each in done["bundles"]] == ["stack-0002", TITLE]
    gap.offline("verify", *(each["bundle"] for each in done["bundles"]))


def test_receive_takes_what_is_for_this_site_only(gap: Gap) -> None:
    path = gap.folder / "stack.yaml"
    path.write_text(path.read_text().replace("images:", "destinations: [lab]\nimages:"))
    words = ("--to", gap.folder / "d", "--volume-size", VOLUME_SIZE, "--json")
    made = gap.online("pack", path, *words).json["volumes"]
    done = gap.offline("receive", *made, "--into", gap.folder / "x", code=15)
    assert "the bundle is for another site: stack-0002, want lab, got plant-7" in done.err
    assert not (gap.folder / "x").exists()
    assert gap.offline.ended() == ("receive", "refused", 15)
