"""Volumes that are verified, loaded and served where they are."""

import os
import subprocess
import sys
from pathlib import Path
from urllib.request import Request, urlopen

import pytest

from airgap.endpoints.server import ImageServer
from tests.cli.conftest import Gap
from tests.cli.volumes.commands import NAMES, ORDERS, loaded, receive, repair, size_of, some, whole_of
from tests.support.cut import BASE, BIG, WEB, part, stamps, volumes
from tests.support.damage import flip

# -- in place


@pytest.mark.parametrize("order", ORDERS)
def test_volumes_are_verified_in_any_order(sound: Gap, order: tuple[int, ...]) -> None:
    folders = some(sound, *order)
    [value] = sound.offline("verify", *folders, "--json").json["bundles"]
    assert value["volumes"] == list(map(str, folders))
    [whole] = sound.offline("verify", whole_of(sound), "--json").json["bundles"]
    same = ("statement_sha256", "files", "bytes", "keys")
    assert [value[key] for key in same] == [whole[key] for key in same]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_each_volume_tells_what_it_is(sound: Gap, number: int) -> None:
    [folder] = some(sound, number)
    value = sound.offline("inspect", folder, "--json").json
    assert (value["volumes"], value["volumes_here"], value["refusal"]) == (3, [number], None)
    assert [image["as"] for image in value["images"]] == NAMES
    assert f" on 3 volumes; here: volume {number}; not read:" in sound.offline("inspect", folder).out


@pytest.mark.parametrize("order", ORDERS)
def test_volumes_are_loaded_in_place(sound: Gap, tmp_path: Path, order: tuple[int, ...]) -> None:
    out = tmp_path / "out"
    value = sound.offline("load", *some(sound, *order), "--to", f"oci:{out}", "--json").json
    assert [image["verdict"] for image in value["images"]] == ["loaded", "loaded"]
    loaded(out)
    assert sound.offline.ended() == ("load", "ok", 0)


WATCH = """
import os, sys

seen = []

def watch(event, arguments):
    if event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR):
        seen.append(str(arguments[0]))

from airgap.cli.main import main
sys.addaudithook(watch)
code = main(sys.argv[1:])
print(*seen, sep="\\n", file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.usefixtures("unmeasured")
@pytest.mark.parametrize("command", ["verify", "load"])
def test_what_is_read_in_place_is_kept_nowhere_else(gap: Gap, command: str) -> None:
    """Peak extra disk: whatever is opened for writing is the target's, or a record of some kilobytes."""
    words = ("--to", f"archive:{gap.folder}/out.tar") if command == "load" else ()
    done = subprocess.run(
        [sys.executable, "-B", "-c", WATCH, command, *volumes(gap.folder), *words, "--quiet"],
        env={**os.environ, "AIRGAP_HOME": str(gap.offline.home)},
        capture_output=True,
        text=True,
        check=True,
    )
    written = {Path(line) for line in done.stderr.splitlines()}
    home = {path for path in written if path.is_relative_to(gap.offline.home)}
    home |= {path for path in written if path.name.endswith(".receipt.json.part")}  # beside the volumes
    assert written - home == ({gap.folder / "out.tar.part"} if words else set())
    assert home
    assert size_of(gap.offline.home) < 100_000


def test_volumes_are_served_in_place(sound: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    pulled: list[bytes] = []

    def once(self: ImageServer) -> None:
        with self:
            for digest in (BASE, BIG):
                url = f"http://{self.address}/v2/example.com/web/blobs/{digest}"
                for first in (0, 3_000_000 if digest == BIG else 1000):  # a client that goes on in the middle
                    request = Request(url, headers={"Range": f"bytes={first}-"})
                    with urlopen(request, timeout=20) as answer:
                        pulled.append(answer.read())

    monkeypatch.setattr(ImageServer, "serve_forever", once)
    before = stamps(*volumes(sound.folder))
    done = sound.offline("serve", *some(sound, 3, 1, 2), "--port", "0")
    assert done.out.startswith("serving 2 repositories at ")
    base, big = WEB.contents[BASE], WEB.contents[BIG]
    assert pulled == [base, base[1000:], big, big[3_000_000:]]
    assert stamps(*volumes(sound.folder)) == before


def test_send_takes_further_volumes_by_option(sound: Gap) -> None:
    hint = "hint: name the first volume as BUNDLE, and each further one with --volume DIR\n"
    first, second = some(sound, 1, 2)
    assert sound.online("send", first, "127.0.0.1:1", code=19).err.endswith(hint)
    assert sound.online("send", first, second, "127.0.0.1:1", code=2).err.endswith(hint)


# -- the ledger


def test_everything_is_recorded(gap: Gap) -> None:
    receive(gap, 1, code=19)
    receive(gap, 1, 2, 3)
    gap.offline("repack", whole_of(gap), "--to", gap.folder / "d", "--volume-size", "8MB")
    flip(part(gap.folder, 2))
    gap.offline("verify", *volumes(gap.folder), code=12)
    repair(gap)
    gap.offline("verify", "--media", *volumes(gap.folder))
    gap.offline("load", *volumes(gap.folder), "--to", f"oci:{gap.folder}/out")
    ends = [record for record in gap.offline.records() if record["phase"] == "end"][1:]
    assert [(record["event"], record["result"], record["exit_code"]) for record in ends] == [
        ("receive", "failed", 19),
        ("receive", "ok", 0),
        ("media-write", "ok", 0),
        ("verify", "refused", 12),
        ("media-write", "ok", 0),
        ("media-verify", "ok", 0),
        ("load", "ok", 0),
    ]
    assert {record["bundle"]["serial"] for record in ends} == {1}
    assert [record.get("written") for record in ends] == [None, 1, 7, None, 1, None, None]
    begins = [record for record in gap.offline.records() if record["phase"] == "begin"]
    assert begins[-1]["path"] == ", ".join(map(str, volumes(gap.folder)))
    assert begins[-3]["repairs"] == ", ".join(map(str, some(gap, 2, 3, 1)))
    assert gap.offline("audit", "verify").out.startswith(f"complete: {2 * len(ends) + 2} lines, root ")
