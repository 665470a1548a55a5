"""Files beside images, from the manifest to a folder of the offline side."""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import Gap, files_of
from tests.cli.test_audit import introduce
from tests.support.damage import flip
from tests.support.images import noise, simple_image
from tests.support.registry import FakeRegistry

TOOL = b"#!/bin/sh\necho tool\n"
FILES = {"tool": TOOL, "a.yaml": b"a: 1\n", "sub/b.yaml": b"b: 1\n"}
ARTIFACTS = ("airgap.internal/stack/tool:latest", "airgap.internal/stack/conf:latest")


def with_files(gap: Gap, *more: str) -> Path:
    """A manifest of an image, a program and a folder, and the files."""
    (gap.folder / "conf" / "sub").mkdir(parents=True)
    (gap.folder / "conf" / "a.yaml").write_bytes(FILES["a.yaml"])
    (gap.folder / "conf" / "sub" / "b.yaml").write_bytes(FILES["sub/b.yaml"])
    (gap.folder / "conf" / "notes.txt").write_bytes(b"not matched\n")
    (gap.folder / "tool").write_bytes(TOOL)
    (gap.folder / "tool").chmod(0o700)
    path = gap.layout(web=simple_image("web"))
    items = ("./tool", '{folder: conf, match: "**/*.yaml"}', *more)
    path.write_text(path.read_text() + "files:\n" + "".join(f"  - {item}\n" for item in items))
    return path


@pytest.fixture
def bundle(gap: Gap) -> Path:
    """A sealed bundle with an image and two artifacts of files."""
    path = with_files(gap)
    gap.online("lock", path)
    gap.online("pack", path, "--to", gap.stick)
    return gap.stick / "stack-0001"


@pytest.fixture
def srv(gap: Gap) -> Path:
    """Where files go; it does not exist yet."""
    return gap.folder / "srv" / "files"


def verdicts(gap: Gap, *words: object, code: int = 0) -> list[str]:
    """The verdicts of a load: of the image, the program and the folder."""
    images = gap.offline("load", *words, "--json", code=code).json["images"]
    assert [image["reference"] for image in images] == ["example.com/web:1", *ARTIFACTS]
    return [image["verdict"] for image in images]


def test_files_are_written_whole_with_their_modes(gap, bundle, srv):
    assert verdicts(gap, bundle, "--files-to", srv) == ["skipped", "placed", "placed"]
    assert files_of(srv) == FILES
    assert {name: (srv / name).stat().st_mode & 0o777 for name in FILES} == {
        "tool": 0o755, "a.yaml": 0o644, "sub/b.yaml": 0o644,
    }  # fmt: skip
    assert verdicts(gap, bundle, "--to", f"files:{srv}") == ["skipped", "already there", "already there"]


def test_only_what_is_missing_or_has_another_mode_is_written(gap, bundle, srv):
    verdicts(gap, bundle, "--files-to", srv)
    before = (srv / "a.yaml").stat().st_ino
    (srv / "tool").chmod(0o644)
    (srv / "sub" / "b.yaml").unlink()
    assert verdicts(gap, bundle, "--files-to", srv) == ["skipped", "placed", "placed"]
    assert files_of(srv) == FILES
    assert (srv / "a.yaml").stat().st_ino == before
    assert (srv / "tool").stat().st_mode & 0o777 == 0o755


def test_a_different_file_stays_unless_a_person_replaces_it(gap, bundle, srv):
    srv.mkdir(parents=True)
    (srv / "a.yaml").write_bytes(b"mine\n")
    for words in ((), ("--on-conflict", "refuse")):
        done = gap.offline(
            "load", bundle, "--files-to", srv, "--to", f"oci:{gap.folder / 'images'}", *words, code=16
        )
        assert f"a different file has this name: files:{srv}/a.yaml, want sha256:" in done.err
        assert "--on-conflict replace; nothing was changed" in done.err
    assert files_of(srv) == {"a.yaml": b"mine\n"}
    assert not (gap.folder / "images").exists()
    verdicts(gap, bundle, "--files-to", srv, "--on-conflict", "replace")
    assert files_of(srv) == FILES


def test_a_layout_takes_the_artifacts_and_a_folder_the_files(gap, bundle, srv):
    words = (bundle, "--to", f"oci:{gap.folder / 'images'}", "--files-to", srv)
    done = gap.offline("load", *words, "--json").json
    assert [image["verdict"] for image in done["images"]] == ["loaded"] * 3
    assert [image["reason"] for image in done["images"]] == [None, *[f"also in files:{srv}"] * 2]
    assert files_of(srv) == FILES
    assert verdicts(gap, *words) == ["already there"] * 3


def test_all_or_nothing_writes_files_only_if_every_image_is_loaded(gap, bundle, srv):
    """The folder comes last: files that are written cannot be taken back."""
    words = (bundle, "--to", f"oci:{gap.folder / 'images'}", "--files-to", srv, "--all-or-nothing")
    web = gap.offline("inspect", bundle, "--json").json["images"][0]["digest"]
    manifest = json.loads((bundle / "blobs" / web.replace(":", "/")).read_bytes())
    layer = bundle / "blobs" / manifest["layers"][0]["digest"].replace(":", "/")
    good = layer.read_bytes()
    flip(layer)
    assert verdicts(gap, *words, code=12) == ["failed"] * 3
    assert not srv.exists()
    layer.write_bytes(good)
    assert verdicts(gap, *words) == ["loaded"] * 3
    assert files_of(srv) == FILES
    done = gap.offline("load", bundle, "--files-to", srv, "--all-or-nothing", code=2)
    assert f"not possible at this target: files:{srv}, got a folder, whose files are written one" in done.err


def test_a_target_for_images_alone_skips_files_and_says_where_they_go(gap, bundle, srv):
    images = gap.folder / "agent"
    done = gap.offline("load", bundle, "--to", f"k3s:{images}", "--json").json["images"]
    assert [image["verdict"] for image in done] == ["placed", "skipped", "skipped"]
    assert done[1]["reason"] == "files; --files-to DIR writes them into a folder"
    done = gap.offline("load", bundle, "--to", f"k3s:{images}", "--files-to", srv, "--json").json["images"]
    assert [image["verdict"] for image in done] == ["already there", "placed", "placed"]
    assert done[1]["reason"] == f"in files:{srv}"


def link_file(srv: Path, outside: Path) -> None:
    (srv / "a.yaml").symlink_to(outside / "a.yaml")


def link_folder(srv: Path, outside: Path) -> None:
    (srv / "sub").symlink_to(outside)


def dangling_link(srv: Path, outside: Path) -> None:
    (srv / "tool").symlink_to(outside / "new")


def pipe(srv: Path, _outside: Path) -> None:
    os.mkfifo(srv / "tool")


def folder(srv: Path, _outside: Path) -> None:
    (srv / "tool").mkdir()


def file_as_folder(srv: Path, _outside: Path) -> None:
    (srv / "sub").write_bytes(b"")


@pytest.mark.parametrize("obstacle", [link_file, link_folder, dangling_link, pipe, folder, file_as_folder])
def test_nothing_is_written_through_or_over_what_is_not_a_file(gap, bundle, srv, obstacle):
    outside = gap.folder / "outside"
    outside.mkdir()
    (outside / "a.yaml").write_bytes(b"theirs\n")
    srv.mkdir(parents=True)
    obstacle(srv, outside)
    before = sorted(srv.iterdir())
    done = gap.offline("load", bundle, "--files-to", srv, "--on-conflict", "replace", code=12)
    assert f"not a regular file or folder: {srv}/" in done.err
    assert files_of(outside) == {"a.yaml": b"theirs\n"}
    assert sorted(srv.iterdir()) == before


def test_a_damaged_file_is_absent_and_the_others_are_there(gap, bundle, srv):
    shown = gap.offline("inspect", bundle, "--json").json["images"]
    tool = next(f["digest"] for image in shown for f in image["carried_files"] if f["name"] == "tool")
    flip(bundle / "blobs" / tool.replace(":", "/"))
    assert verdicts(gap, bundle, "--files-to", srv, code=3) == ["skipped", "failed", "placed"]
    assert files_of(srv) == {name: raw for name, raw in FILES.items() if name != "tool"}


def test_a_load_that_was_interrupted_is_finished_by_the_next(gap, bundle, srv):
    srv.mkdir(parents=True)
    (srv / ".tool.airgap-part").write_bytes(b"the beginning of a tool that is long and wrong")
    verdicts(gap, bundle, "--files-to", srv)
    assert files_of(srv) == FILES


def test_a_load_needs_a_target(gap, bundle):
    assert "missing option '--to'" in gap.offline("load", bundle, code=2).err


# -- the online side


def test_every_table_names_the_files(gap):
    path = with_files(gap)
    for command in (("lock",), ("plan",), ("pack", "--to", gap.stick)):
        done = gap.online(command[0], path, *command[1:])
        assert [word for word in done.out.split() if word in FILES] == sorted(
            FILES, key=lambda n: (n != "tool", n)
        )
    bundle = gap.stick / "stack-0001"
    assert "tool        0755  " in gap.offline("inspect", bundle).out
    listed = gap.online("plan", path, "--json").json["images"][1]["carried_files"]
    assert [(item["name"], item["mode"], item["bytes"]) for item in listed] == [("tool", "0755", len(TOOL))]


@pytest.mark.parametrize(
    "content", [b"longer than it was, by far", b"x" * len(TOOL)], ids=["longer", "same size"]
)
def test_a_file_that_changed_after_it_was_locked_is_refused(gap, content):
    path = with_files(gap)
    gap.online("lock", path)
    (gap.folder / "tool").write_bytes(content)
    done = gap.online("pack", path, "--to", gap.stick, code=12)
    assert f"error: the file is not the one that was locked: {gap.folder / 'tool'}, want sha256:" in done.err
    assert "hint: run `airgap lock` again" in done.err
    gap.online("lock", path)
    gap.online("pack", path, "--to", gap.stick)


def test_packing_again_checks_the_files_and_writes_what_is_missing(gap, bundle):
    words = ("pack", gap.folder / "stack.yaml", "--to", gap.stick, "--json")
    before = files_of(bundle)
    assert gap.online(*words).json["fresh"] is False
    digest = f"blobs/sha256/{hashlib.sha256(TOOL).hexdigest()}"
    (bundle / digest).unlink()
    assert gap.online(*words).json["fresh"] is True
    assert files_of(bundle) == before


BAD = {
    "no file": ("./nothing", "no such file"),
    "a folder": ("{path: conf, name: x}", "not a regular file"),
    "no folder": ("{folder: nothing}", "no such folder"),
    "no match": ('{folder: conf, match: "*.exe", as: "x/y:1"}', "no file matches"),
    "the same name": ('{path: conf/notes.txt, name: "TOOL", as: "x/y:1"}', "two files have the same name"),
    "a folder's name": ('{path: conf/notes.txt, name: sub, as: "x/y:1"}', "a file has the name of a folder"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_item_stops_the_lock(gap, case):
    item, message = BAD[case]
    path = with_files(gap, item)
    assert message in gap.online("lock", path, code=10).err
    assert not (gap.folder / "stack.lock.yaml").exists()


def test_a_pattern_does_not_follow_links(gap):
    path = with_files(gap)
    (gap.folder / "conf" / "c.yaml").symlink_to(gap.folder / "tool")
    assert "not a regular file" in gap.online("lock", path, code=10).err
    (gap.folder / "conf" / "c.yaml").unlink()
    (gap.folder / "conf" / "up").symlink_to(gap.folder)
    gap.online("lock", path)


def test_a_manifest_of_files_alone_makes_a_bundle(gap, srv):
    with_files(gap)
    path = gap.folder / "files.yaml"
    path.write_text('version: 1\nname: files\nfiles: [{path: tool, as: "registry.example/bin/tool:1"}]\n')
    gap.online("pack", path, "--to", gap.stick, "--tar")
    gap.offline("load", gap.stick / "files-0001.tar", "--files-to", srv)
    assert files_of(srv) == {"tool": TOOL}


def test_a_file_may_be_cut_over_two_media(gap, srv):
    (gap.folder / "big").write_bytes(noise(7_500_000, 1))
    path = gap.folder / "big.yaml"
    path.write_text("version: 1\nname: big\nfiles: [./big, {path: big, name: twin}]\n")
    media = [gap.folder / "one", gap.folder / "two"]
    for medium in media:
        medium.mkdir()
    to = [word for medium in media for word in ("--to", medium)]
    volumes = gap.online("pack", path, *to, "--volume-size", "5MB", "--json").json["volumes"]
    assert len(volumes) == 2
    gap.offline("load", *volumes, "--files-to", srv)
    assert files_of(srv) == {"big": noise(7_500_000, 1), "twin": noise(7_500_000, 1)}


def test_a_comparison_has_the_artifacts(gap):
    path = with_files(gap)
    gap.online("lock", path)
    before = gap.folder / "before.lock.yaml"
    shutil.copy(gap.folder / "stack.lock.yaml", before)
    (gap.folder / "tool").write_bytes(b"new")
    gap.online("lock", path)
    changes = {
        item["name"]: item["change"] for item in gap.online("diff", before, path, "--json").json["images"]
    }
    assert changes == {"example.com/web:1": "the same", ARTIFACTS[0]: "moved", ARTIFACTS[1]: "the same"}
    (gap.folder / "stack.lock.yaml").unlink()
    changes = {
        item["name"]: item["change"] for item in gap.online("diff", before, path, "--json").json["images"]
    }
    assert set(changes.values()) == {"unknown"}


# -- receipts and the ledger


def test_a_transfer_is_confirmed_when_images_and_files_have_arrived(gap, bundle, srv):
    introduce(gap)

    def state(*words: object) -> str:
        receipt = gap.offline("load", bundle, *words, "--json").json["receipt"]
        imported = gap.online("receipt", "import", receipt, "--json").json["receipts"][0]
        assert (imported["alarms"], imported["unconfirmed"]) == ([], [])
        return gap.online("audit", "report", "--json").json["sent"][0]["state"]

    assert state("--to", f"k3s:{gap.folder / 'agent'}") == "partial"
    assert state("--files-to", srv) == "received"


def test_the_audit_finds_a_file_by_name_and_digest_on_both_sides(gap, bundle, srv):
    introduce(gap)
    receipt = gap.offline("load", bundle, "--files-to", srv, "--json").json["receipt"]
    gap.online("receipt", "import", receipt)
    digest = gap.offline("inspect", bundle, "--json").json["images"][1]["carried_files"][0]["digest"]
    for side in (gap.online, gap.offline):
        for what in ("tool", digest):
            found = side("audit", "find", what, "--json").json["found"]
            assert ARTIFACTS[0] in [match["reference"] for match in found]
    page = gap.folder / "page.html"
    gap.online("audit", "report", "--html", page)
    assert "tool, 20 bytes, mode 0755" in page.read_text()


def test_a_receipt_that_holds_files_in_a_folder_is_no_base(gap, bundle, srv):
    done = gap.offline("load", bundle, "--to", f"oci:{gap.folder / 'images'}", "--files-to", srv, "--json")
    both = gap.offline("receipt", "show", done.json["receipt"], "--json").json["receipts"][0]
    done = gap.offline("load", bundle, "--files-to", srv, "--json")
    alone = gap.offline("receipt", "show", done.json["receipt"], "--json").json["receipts"][0]
    assert both["blobs_held"] > 5
    assert alone["blobs_held"] == 0


def test_a_delta_leaves_out_files_that_a_layout_holds(gap, bundle, srv):
    introduce(gap)
    images = f"oci:{gap.folder / 'images'}"
    receipt = gap.offline("load", bundle, "--to", images, "--json").json["receipt"]
    (gap.folder / "conf" / "a.yaml").write_bytes(b"a: 2\n")
    path = gap.folder / "stack.yaml"
    gap.online("lock", path)
    words = ("pack", path, "--to", gap.stick, "--json", "--since")
    assert gap.online(*words, bundle).json["requires"]["count"] == 1
    delta = gap.online("pack", path, "--to", gap.folder / "two", "--since", receipt, "--json").json
    assert delta["requires"]["count"] == 3
    second = delta["bundle"]
    assert "the base is not at the target" in gap.offline("load", second, "--files-to", srv, code=19).err
    assert not srv.exists()
    assert verdicts(gap, second, "--to", images) == ["already there", "already there", "loaded"]
    gap.offline("load", bundle, "--files-to", srv, code=14)
    srv.mkdir(parents=True)
    (srv / "tool").write_bytes(TOOL)
    (srv / "sub").mkdir()
    (srv / "sub" / "b.yaml").write_bytes(FILES["sub/b.yaml"])
    assert verdicts(gap, second, "--files-to", srv) == ["skipped", "placed", "placed"]
    assert files_of(srv) == FILES | {"a.yaml": b"a: 2\n"}


# -- addresses


@pytest.fixture
def web() -> Iterator[FakeRegistry]:
    """A web server with a file."""
    with FakeRegistry() as server:
        server.objects["/k3s"] = TOOL
        yield server


def of_address(gap: Gap, url: str, content: bytes = TOOL) -> Path:
    """A manifest of the file at an address, whose SHA-256 is that of `content`."""
    path = gap.folder / "web.yaml"
    item = f'{{url: "{url}", sha256: "{hashlib.sha256(content).hexdigest()}", mode: "0755"}}'
    path.write_text(f"version: 1\nname: web\nfiles: [{item}]\n")
    return path


def test_a_file_at_an_address_is_carried(gap, web, srv):
    path = of_address(gap, f"{web.url}/k3s")
    gap.online("lock", path)
    web.fault(method="GET", path="/k3s", drop_at=5, times=1)
    gap.online("pack", path, "--to", gap.stick)
    gap.offline("load", gap.stick / "web-0001", "--files-to", srv)
    assert files_of(srv) == {"k3s": TOOL}
    assert (srv / "k3s").stat().st_mode & 0o777 == 0o755


def test_other_bytes_at_the_address_are_refused(gap, web):
    path = of_address(gap, f"{web.url}/k3s", b"x" * len(TOOL))
    done = gap.online("pack", path, "--to", gap.stick, code=12)
    assert f"the file is not the one that was locked: {web.url}/k3s" in done.err
    assert "compare `sha256:` with what the site states" in done.err


def test_plain_http_is_refused_unless_a_person_allows_it(gap):
    path = of_address(gap, "http://files.example/k3s")
    assert (
        "the address is plain HTTP: http://files.example/k3s, want https"
        in gap.online("lock", path, code=2).err
    )
