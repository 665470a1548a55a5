"""Volumes that were changed: every change is found before, or while, the content is read."""

import os
from pathlib import Path

import pytest

from airgap.bundle import volumes as module
from airgap.bundle.volumes import (
    VolumeSet,
)
from airgap.carry.verify import verify, verify_content
from airgap.errors import (
    DigestMismatchError,
    IncompleteError,
    MissingContentError,
    SizeMismatchError,
    UnlistedContentError,
)
from airgap.progress import Silent
from tests.support.damage import flip
from tests.unit.bundle.volumes_support import proved


def _entry(document, parted):
    return next(each for each in document["blobs"] if "blobs/" + each["blob"].replace(":", "/") == parted)


def _claim(parted, change):
    """Change the parts that every table tells of the blob that is in parts."""

    def harm(volumes):
        volumes.retable(lambda document: change(_entry(document, parted)["parts"]))

    return harm


def _join(parts):
    """One part of the size of all."""
    parts[0]["size"] = sum(part["size"] for part in parts)
    del parts[1:]


def _steal(parts, by):
    """A boundary elsewhere: one part longer, the next one shorter; the sum stays."""
    parts[0]["size"] += by
    parts[1]["size"] -= by


FILES = {
    "a part is missing": (lambda v, p, _: v.part(p, 2).unlink(), MissingContentError, "missing file: {3}/"),
    "a part is short": (lambda v, p, _: os.truncate(v.part(p, 1), 3), SizeMismatchError, "wrong size: {2}/"),
    "a part is long": (
        lambda v, p, _: v.part(p, 4).write_bytes(v.part(p, 4).read_bytes() + b"x"),
        SizeMismatchError,
        "wrong size: {3}/",
    ),
    "a part is empty": (lambda v, p, _: v.part(p, 0).write_bytes(b""), SizeMismatchError, "wrong size: {1}/"),
    "a part is a link": (
        lambda v, p, _: (v.part(p, 0).rename(v[1].parent / "x"), v.part(p, 0).symlink_to(v[1].parent / "x")),
        UnlistedContentError,
        "not a regular file with one link: {1}/",
    ),
    "a part has two links": (
        lambda v, p, _: (v[1].parent / "x").hardlink_to(v.part(p, 0)),
        UnlistedContentError,
        "not a regular file with one link: {1}/",
    ),
    "a part is a pipe": (
        lambda v, p, _: (v.part(p, 3).unlink(), os.mkfifo(v.part(p, 3))),
        UnlistedContentError,
        "not a regular file with one link: {3}/",
    ),
    "a part is a folder": (
        lambda v, p, _: (v.part(p, 1).unlink(), v.part(p, 1).mkdir()),
        UnlistedContentError,
        "folder that the statement does not list: {2}/",
    ),
    "a part on another volume too": (
        lambda v, p, _: v.put(f"{p}.000", v.part(p, 0).read_bytes(), 2),
        UnlistedContentError,
        "the file belongs to another volume: {2}/",
    ),
    "a part on another volume": (
        lambda v, p, _: v.part(p, 0).rename(v[2] / f"{p}.000"),
        MissingContentError,
        "missing file: {1}/",
    ),
    "a part too many": (
        lambda v, p, _: v.put(f"{p}.005", b"x", 3),
        UnlistedContentError,
        "the file belongs to another volume: {3}/",
    ),
    "a part too many everywhere": (
        lambda v, p, _: v.put(f"{p}.005", b"x"),
        UnlistedContentError,
        "the file belongs to another volume",
    ),
    "a part of a blob that is whole": (
        lambda v, _, w: v.put(f"{w}.000", b"x"),
        UnlistedContentError,
        "the file belongs to another volume: {1}/",
    ),
    "the whole beside its parts": (
        lambda v, p, _: v.put(p, b"what stock tools would read", 1),
        UnlistedContentError,
        "the file belongs to another volume: {1}/",
    ),
    "the whole beside its parts everywhere": (
        lambda v, p, _: v.put(p, b"what stock tools would read"),
        UnlistedContentError,
        "the file belongs to another volume: {1}/",
    ),
    "a whole blob on two volumes": (
        lambda v, _, w: v.put(w, (v[2] / w).read_bytes(), 3),
        UnlistedContentError,
        "the file belongs to another volume: {3}/",
    ),
    "a whole blob is missing": (
        lambda v, _, w: (v[2] / w).unlink(),
        MissingContentError,
        "missing file: {2}/",
    ),
    "a whole blob is short": (
        lambda v, _, w: os.truncate(v[2] / w, 1),
        SizeMismatchError,
        "wrong size: {2}/",
    ),
    "a part that is being written": (
        lambda v, p, _: v.put(f"{p}.000.part", b"x"),
        UnlistedContentError,
        "file that the statement does not list: {1}/",
    ),
    "a planned table beside the table": (
        lambda v, _p, _w: v.put("volume.json.part", b"x"),
        UnlistedContentError,
        "file that the statement does not list: {1}/volume.json.part",
    ),
    "case twins of the table": (
        lambda v, _p, _w: v.put("VOLUME.JSON", b"x"),
        UnlistedContentError,
        "file that the statement does not list: {1}/VOLUME.JSON",
    ),
    "a case twin on one volume": (
        lambda v, _p, _w: v.put("Index.json", b"x", 2),
        UnlistedContentError,
        "the file is not on every volume: {2}/Index.json",
    ),
    "a part in capitals": (
        lambda v, p, _: v.part(p, 0).rename(
            v[1] / (p.upper().replace("BLOBS/SHA256", "blobs/sha256") + ".000")
        ),
        MissingContentError,
        "missing file: {1}/",
    ),
    "a folder in capitals": (
        lambda v, _p, _w: (v[2] / "BLOBS").mkdir(),
        UnlistedContentError,
        "folder that the statement does not list: {2}/BLOBS",
    ),
    "an empty folder": (
        lambda v, _p, _w: (v[3] / "blobs" / "md5").mkdir(),
        UnlistedContentError,
        "folder that the statement does not list: {3}/blobs/md5",
    ),
    "a link for a folder": (
        lambda v, _p, _w: (
            (v[2] / "sig").rename(v[2].parent / "sig"),
            (v[2] / "sig").symlink_to(v[2].parent / "sig"),
        ),
        UnlistedContentError,
        "not a regular file with one link: {2}/sig",
    ),
    "a file on every volume": (
        lambda v, _p, _w: v.put("x", b"x"),
        UnlistedContentError,
        "does not list: {1}/x",
    ),
    "a file on the first": (
        lambda v, _p, _w: v.put("x", b"x", 1),
        MissingContentError,
        "missing file: {2}/x",
    ),
    "a file on the last": (
        lambda v, _p, _w: v.put("x", b"x", 3),
        UnlistedContentError,
        "the file is not on every volume: {3}/x",
    ),
    "a small file is missing on the first": (
        lambda v, _p, _w: (v[1] / "VERIFY.txt").unlink(),
        UnlistedContentError,
        "the file is not on every volume: {2}/VERIFY.txt",
    ),
    "a small file is missing on the second": (
        lambda v, _p, _w: (v[2] / "VERIFY.txt").unlink(),
        MissingContentError,
        "missing file: {2}/VERIFY.txt",
    ),
    "a small file is another on the last": (
        lambda v, _p, _w: flip(v[3] / "manifest.json", -1),
        DigestMismatchError,
        "the file is not the same on every volume: {3}/manifest.json, want {1}/manifest.json",
    ),
    "a small file is another on every volume": (
        lambda v, _p, _w: v.put("VERIFY.txt", b"trust me"),
        DigestMismatchError,
        "wrong digest: {1}/VERIFY.txt",
    ),
    "a repeated file that is too large": (
        lambda v, _p, _w: os.truncate(v[2] / "VERIFY.txt", (64 << 20) + 1),
        SizeMismatchError,
        "too large: {2}/VERIFY.txt",
    ),
    "another signature on one volume": (
        lambda v, _p, _w: flip(next((v[2] / "sig").iterdir()), -1),
        DigestMismatchError,
        "the file is not the same on every volume: {2}/sig/",
    ),
    "another statement on one volume": (
        lambda v, _p, _w: flip(v[2] / "statement.json", -1),
        DigestMismatchError,
        "the file is not the same on every volume: {2}/statement.json",
    ),
    "no envelope on the first": (
        lambda v, _p, _w: (v[1] / "bundle.dsse.json").rename(v[1] / "bundle.dsse.json.part"),
        IncompleteError,
        "not a finished bundle (no bundle.dsse.json): {1}",
    ),
    "no envelope on the last": (
        lambda v, _p, _w: (v[3] / "bundle.dsse.json").rename(v[3] / "bundle.dsse.json.part"),
        IncompleteError,
        "the volume is unfinished: {3}, want bundle.dsse.json, got no such file",
    ),
    "tables of another bundle": (
        lambda v, _p, _w: v.retable(lambda d: d.update(statement_sha256="0" * 64)),
        IncompleteError,
        "the volume belongs to another bundle: {1}/volume.json, want statement sha256:",
    ),
    "tables that leave a blob out": (
        lambda v, _p, w: v.retable(lambda d: d["blobs"].remove(_entry(d, w))),
        UnlistedContentError,
        "the file is not on every volume: {2}/",
    ),
    "tables that leave out a blob that is gone": (
        lambda v, _p, w: (v.retable(lambda d: d["blobs"].remove(_entry(d, w))), (v[2] / w).unlink()),
        MissingContentError,
        "missing file: {1}/",
    ),
    "tables that leave out a blob in parts": (
        lambda v, p, _: v.retable(lambda d: d["blobs"].remove(_entry(d, p))),
        UnlistedContentError,
        "the file belongs to another volume: {1}/",
    ),
    "tables with a blob that nobody listed": (
        lambda v, _p, w: (
            v.retable(
                lambda d: d["blobs"].insert(0, {"blob": f"sha256:{'0' * 64}", "parts": _entry(d, w)["parts"]})
            ),
            v.put(f"blobs/sha256/{'0' * 64}", (v[2] / w).read_bytes(), 2),
        ),
        UnlistedContentError,
        f"file that the statement does not list: {{2}}/blobs/sha256/{'0' * 64}",
    ),
    "a gap: the last part forgotten": (
        lambda v, p, _: (v.part(p, 4).unlink(), _claim(p, lambda parts: parts.pop())(v)),
        SizeMismatchError,
        "wrong size: ",
    ),
    "an overlap: a part twice": (
        lambda v, p, _: (
            v.put(f"{p}.005", v.part(p, 4).read_bytes(), 3),
            _claim(p, lambda parts: parts.append(dict(parts[-1])))(v),
        ),
        SizeMismatchError,
        "wrong size: ",
    ),
    "a boundary elsewhere": (
        lambda v, p, _: _claim(p, lambda parts: _steal(parts, 1))(v),
        SizeMismatchError,
        "wrong size: {1}/",
    ),
    "a size that is claimed": (
        lambda v, p, _: _claim(p, lambda parts: parts[2].update(size=2**53 - 1))(v),
        SizeMismatchError,
        "wrong size: {3}/",
    ),
    "parts in one file": (
        lambda v, p, _: (
            v.put(p, b"".join(v.part(p, n).read_bytes() for n in range(5)), 1),
            _claim(p, _join)(v),
        ),
        UnlistedContentError,
        "the file belongs to another volume: {1}/",
    ),
}


@pytest.mark.parametrize(("act", "error", "words"), FILES.values(), ids=FILES)
def test_harm_that_shows_before_the_content_is_read(made, volumes, parted, lone, act, error, words):
    act(volumes, parted, lone)
    with VolumeSet(volumes.folders) as found, pytest.raises(error) as caught:
        verify(found, made.receiver())
    errors = [caught.value, *getattr(caught.value, "parts", ())]
    assert words.format(None, *volumes.folders) in "\n".join(map(str, errors))


CONTENT = {
    "a harmed part": lambda v, p, _: flip(v.part(p, 3), -1),
    "a harmed whole blob": lambda v, _, w: flip(v[2] / w, -1),
    "a harmed part whose sum was made anew": lambda v, p, _: (
        flip(v.part(p, 3), -1),
        _claim(p, lambda parts: parts[3].update(sha256=_sum(v.part(p, 3))))(v),
    ),
    "a wrong sum": lambda v, p, _: _claim(p, lambda parts: parts[0].update(sha256="0" * 64))(v),
    "two parts in each other's place": lambda v, p, _: (
        _swap(v.part(p, 2), v.part(p, 3)),
        _claim(p, lambda parts: parts.__setitem__(slice(2, 4), [parts[3], parts[2]]))(v),
    ),
}


@pytest.mark.parametrize("harm", CONTENT.values(), ids=CONTENT)
def test_harm_that_shows_in_the_content(made, volumes, parted, lone, harm):
    harm(volumes, parted, lone)
    wrong = proved(made, volumes.folders)
    assert [type(error) for error in wrong] == [DigestMismatchError]


def _sum(path: Path) -> str:
    return module.Digest.of(path.read_bytes()).hex


def _swap(one: Path, other: Path) -> None:
    raw = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(raw)


def test_a_part_that_grows_after_it_was_measured(made, volumes, parted):
    with VolumeSet(volumes.folders) as found:
        bundle = verify(found, made.receiver())
        volumes.part(parted, 1).write_bytes(volumes.part(parted, 1).read_bytes() + b"x")
        wrong = verify_content(bundle, Silent(), 1)
    assert [type(error) for error in wrong] == [SizeMismatchError]
