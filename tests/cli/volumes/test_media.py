"""What media hold: each checked alone, and those whose files are small."""

import contextlib
import resource
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Gap
from tests.cli.volumes.commands import PART, PROOF, loaded, receive, repacked, some
from tests.support.cut import BIG, TITLE, WEB, volumes
from tests.support.damage import flip

# -- verify --media


def test_each_medium_is_checked_alone(gap: Gap) -> None:
    for number, folder in enumerate(volumes(gap.folder), 1):
        [value] = gap.online("verify", "--media", folder, "--json").json["bundles"]
        assert value.keys() == {"bundle", "statement_sha256", "volumes_read", "volumes"} | PROOF
        assert (value["volumes_read"], value["volumes"]) == ([number], 3)
        out = gap.offline("verify", "--media", folder).out
        assert out.startswith(f"on the medium: {TITLE}, volume {number} of 3\n")
    assert gap.online.ended() == ("media-verify", "ok", 0)


@pytest.mark.parametrize("name", [PART, "volume.json"])
def test_a_medium_that_lost_a_bit(gap: Gap, name: str) -> None:
    volume = volumes(gap.folder)[1]
    flip(volume / name, 100)
    done = gap.offline("verify", "--media", volume, code=10 if name == "volume.json" else 12)
    assert f"{volume}/{name}" in done.err
    if name == PART:
        assert "hint: write it again with `airgap pack`" in done.err
    assert gap.offline.ended()[0] == "media-verify"
    gap.offline("verify", "--media", *some(gap, 1, 3))


# -- media whose files are small


@contextlib.contextmanager
def small_files() -> Iterator[None]:
    """No file may be larger than 4 MB, as on a medium whose file system is of the last century."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_layer_larger_than_a_file_goes_in_parts(gap: Gap) -> None:
    path = gap.folder / "stack.yaml"
    path.write_text(path.read_text() + "# the next one\n")
    with small_files():
        made = Path(gap.online("pack", path, "--to", gap.folder / "d", "--json").json["bundle"])
        assert made == gap.folder / "d" / "stack-0002"
        sizes = [(made / f"{BIG.path}.00{n}").stat().st_size for n in (0, 1)]
        assert sizes[0] == 4_000_000
        assert sum(sizes) == len(WEB.contents[BIG])
        flip(made / f"{BIG.path}.001", 1)
        gap.online("pack", path, "--to", gap.folder / "d")
    [value] = gap.offline("verify", made, "--json").json["bundles"]
    assert value["volumes"] == [str(made)]
    assert gap.offline("inspect", made, "--json").json["volumes"] == 1
    gap.offline("load", made, "--to", f"oci:{gap.folder}/out")
    loaded(gap.folder / "out")
    whole = repacked(gap, [made], "--to", gap.folder / "e")
    assert [path.name for path in whole] == ["stack-0002"]
    assert (whole[0] / BIG.path).read_bytes() == WEB.contents[BIG]
    flip(made / f"{BIG.path}.000", 1)
    with small_files():
        gap.offline("repair", made, "--from", whole[0])
    gap.offline("verify", made)


def test_receive_refuses_where_a_layer_cannot_be_whole(gap: Gap) -> None:
    with small_files():
        done = receive(gap, 1, 2, 3, code=11)
        want = f"want files of {len(WEB.contents[BIG]):,} bytes, got at most 4,000,000"
        assert (
            f"error: a layer is larger than the largest file that the medium can hold: {gap.folder / 'x'}, {want}\nhint: "
            in done.err
        )
        made = repacked(gap, volumes(gap.folder), "--to", gap.folder / "x")
    assert list((gap.folder / "x").iterdir()) == made
    gap.offline("verify", *made)
