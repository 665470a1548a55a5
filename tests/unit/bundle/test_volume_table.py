"""Cuts that are planned, and the table that records one."""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.bundle import volume_table as module
from airgap.bundle.volume_table import LEAST_PART, Cut, FreeSpace, Part, VolumeTable, plan_cut, whole_name
from airgap.errors import AmbiguousError, FormatError, NoSpaceError
from airgap.limits import MAX_PARTS, MAX_VOLUME_TABLE_BYTES, MAX_VOLUMES
from airgap.oci.digest import Digest
from tests.unit.bundle.table_support import RAW, SUMS, TABLE, WIDE, A, B

MIB = LEAST_PART


def sizes(*numbers: int) -> dict[Digest, int]:
    return {Digest.of(f"{i}".encode()): number for i, number in enumerate(numbers)}


def laid(cut: Cut, blobs: dict[Digest, int]) -> list[list[tuple[int, int]]]:
    """Volume and size of each part, blob by blob."""
    return [[(part.volume, part.size) for part in cut.parts[digest]] for digest in blobs]


class TestPlanning:
    @pytest.mark.parametrize(
        ("blobs", "spaces", "more", "want"),
        [
            ((), [FreeSpace(9)], None, []),
            ((), [], FreeSpace(9), []),
            ((5,), [FreeSpace(5)], None, [[(1, 5)]]),
            ((0,), [FreeSpace(0)], None, [[(1, 0)]]),
            ((4, 5, 6), [FreeSpace(10), FreeSpace(6)], None, [[(1, 4)], [(2, 5)], [(1, 6)]]),
            ((5, 5, 5), [], FreeSpace(9), [[(1, 5)], [(2, 5)], [(3, 5)]]),
            ((4, 5), [FreeSpace(4)], FreeSpace(9), [[(1, 4)], [(2, 5)]]),
            # a file may be too large where the room is not
            ((3 * MIB,), [FreeSpace(9 * MIB, 2 * MIB)], None, [[(1, 2 * MIB), (1, MIB)]]),
            ((3 * MIB,), [FreeSpace(9 * MIB, 2 * MIB), FreeSpace(3 * MIB)], None, [[(2, 3 * MIB)]]),
            # the whole blobs first, then the one that fits nowhere, in what is left
            (
                (5 * MIB, 2 * MIB),
                [FreeSpace(3 * MIB), FreeSpace(4 * MIB)],
                None,
                [[(1, MIB), (2, 4 * MIB)], [(1, 2 * MIB)]],
            ),
            ((5 * MIB,), [], FreeSpace(2 * MIB), [[(1, 2 * MIB), (2, 2 * MIB), (3, MIB)]]),
            # no part below a megabyte but the last: a few bytes that are left on a volume stay free
            (
                (3 * MIB + 1,),
                [FreeSpace(MIB - 1), FreeSpace(9 * MIB, 3 * MIB)],
                None,
                [[(2, 3 * MIB), (2, 1)]],
            ),
        ],
    )
    def test_what_goes_where(self, blobs, spaces, more, want):
        found = plan_cut(sizes(*blobs), spaces, more)
        assert laid(found, sizes(*blobs)) == want
        assert found.of == max((volume for parts in want for volume, _ in parts), default=1)
        assert found.same_as(sizes(*blobs))

    @pytest.mark.parametrize(
        ("blobs", "spaces", "more", "got"),
        [
            ((5,), [], None, "0 bytes"),
            ((5,), [FreeSpace(4)], None, "4 bytes"),
            ((0,), [], None, "0 bytes"),
            ((3, 3), [FreeSpace(5)], None, "5 bytes"),
            ((3 * MIB,), [FreeSpace(MIB), FreeSpace(MIB - 1), FreeSpace(MIB)], None, "3,145,727 bytes"),
            ((5,), [], FreeSpace(0), "999 volumes of 0 bytes"),
            ((5,), [], FreeSpace(-7), "999 volumes of 0 bytes"),
            ((0,), [], FreeSpace(-7), "999 volumes of 0 bytes"),
            ((1000 * MIB,), [], FreeSpace(MIB), "999 volumes of 1,048,576 bytes"),
            ((1001 * MIB,), [FreeSpace(2000 * MIB, MIB)], None, "2,097,152,000 bytes"),
        ],
    )
    def test_what_does_not_fit(self, blobs, spaces, more, got):
        with pytest.raises(NoSpaceError) as caught:
            plan_cut(sizes(*blobs), spaces, more)
        want = f"want space for {sum(blobs):,} bytes of layers"
        assert str(caught.value) == f"the bundle does not fit, {want}, got {got}"
        assert "nothing was fetched" in caught.value.hint

    def test_the_most_parts_and_volumes(self):
        found = plan_cut(sizes(MAX_PARTS * MIB), [FreeSpace(MAX_PARTS * MIB, MIB)])
        (parts,) = found.parts.values()
        assert len(parts) == MAX_PARTS
        assert plan_cut(sizes(MAX_VOLUMES * MIB), [], FreeSpace(MIB)).of == MAX_VOLUMES

    @settings(max_examples=80)
    @given(
        blobs=st.lists(st.integers(0, 9 * MIB), max_size=12),
        spaces=st.lists(
            st.builds(FreeSpace, st.integers(0, 30 * MIB), st.none() | st.integers(MIB, 9 * MIB)), max_size=4
        ),
        more=st.none()
        | st.builds(FreeSpace, st.integers(-5, 30 * MIB), st.none() | st.integers(MIB, 9 * MIB)),
    )
    def test_whatever_is_planned_holds(self, blobs, spaces, more):
        wanted = sizes(*blobs)
        try:
            found = plan_cut(wanted, spaces, more)
        except NoSpaceError:
            return
        assert found.same_as(wanted)
        assert list(found.parts) == sorted(wanted)
        filled: dict[int, int] = {}
        for parts in found.parts.values():
            assert [part.volume for part in parts] == sorted(part.volume for part in parts)
            assert len(parts) == 1 or all(part.size >= LEAST_PART for part in parts[:-1])
            assert len(parts) == 1 or parts[-1].size
            for part in parts:
                filled[part.volume] = filled.get(part.volume, 0) + part.size
                room = spaces[part.volume - 1] if part.volume <= len(spaces) else more
                assert room.file is None or part.size <= room.file
        for volume, size in filled.items():
            assert size <= (spaces[volume - 1] if volume <= len(spaces) else more).size
        assert plan_cut(dict(reversed(wanted.items())), spaces, more) == found


class TestCut:
    @pytest.mark.parametrize(
        ("cut", "needed"),
        [
            (Cut(1, {}), False),
            (Cut(1, {A: (Part(1, 5),)}), False),
            (Cut(2, {A: (Part(1, 5),)}), True),
            (Cut(1, {A: (Part(1, 5), Part(1, 5))}), True),
        ],
    )
    def test_is_needed(self, cut, needed):
        assert cut.is_needed is needed

    def test_files(self):
        parts = tuple(Part(1, 1) for _ in range(12))
        cut = Cut(1, {A: parts, WIDE: (Part(1, 5),)})
        assert cut.files(WIDE) == ((f"blobs/sha512/{'d' * 128}", Part(1, 5)),)
        names = [name for name, _ in cut.files(A)]
        assert names == [f"blobs/sha256/{'a' * 64}.{number:03d}" for number in range(12)]
        assert {whole_name(name) for name in names} == {A.path}

    @pytest.mark.parametrize(
        ("blobs", "same"),
        [
            ({A: 12, WIDE: 0}, True),
            ({A: 12}, False),
            ({A: 11, WIDE: 0}, False),
            ({A: 12, WIDE: 0, B: 0}, False),
            ({}, False),
        ],
    )
    def test_same_as(self, blobs, same):
        assert TABLE.cut.same_as(blobs) is same

    @pytest.mark.parametrize(
        "name",
        [
            A.path,
            f"{A.path}.00",
            f"{A.path}.0000",
            f"{A.path}.00a",
            f"{A.path}.000.part",
            f"{A.path}.000\n",
            f"{A.path}.\u0661\u0662\u0663",
            f"{A.path}x.000",
            f"blobs/sha256/{'A' * 64}.000",
            f"blobs/sha256/{'a' * 63}.000",
            f"blobs/sha512/{'a' * 64}.000",
            f"../{A.path}.000",
            f"/{A.path}.000",
            "index.json.000",
            "",
        ],
    )
    def test_what_is_no_part(self, name):
        assert whole_name(name) is None


def change(old: str, new: str) -> bytes:
    text = RAW.decode()
    assert text.count(old) == 1, old
    return text.replace(old, new).encode()


def blob_line(parts: str, blob: object = B) -> str:
    return f'{{"blob":"{blob}","parts":[{parts}]}}'


def part(volume: int = 1, size: int = 1) -> str:
    return f'{{"volume":{volume},"size":{size},"sha256":"{SUMS["4"]}"}}'


def one_blob(parts: str, blob: object = B) -> bytes:
    return RAW[: RAW.index(b"[\n") + 2] + blob_line(parts, blob).encode() + b"\n]}\n"


SPACE = "not in canonical form"


BAD = {
    "nothing": (b"", "not JSON"),
    "noise": (b"\x00\xff\x80", "not UTF-8"),
    "a list": (b"[]", "not a JSON object"),
    "cut off": (RAW[:-20], "not JSON"),
    "more behind it": (RAW + b"{}", "not JSON"),
    "nested": (b'{"version":' + b"[" * 99 + b"]" * 99 + b"}", "nested too deeply"),
    "too large": (b" " * (MAX_VOLUME_TABLE_BYTES + 1), "too large: v, want at most 16,777,216 bytes"),
    "no fields": (b"{}", "wrong type: v: version, want an integer, got nothing"),
    "version 0": (
        change('"version":1', '"version":0'),
        "unknown version of the volume table: v, want 1, got 0",
    ),
    "version 2": (
        change('"version":1', '"version":2'),
        "unknown version of the volume table: v, want 1, got 2",
    ),
    "version as text": (change('"version":1', '"version":"1"'), "wrong type: v: version"),
    "version as number": (change('"version":1', '"version":1.0'), "not an integer"),
    "version as boolean": (change('"version":1', '"version":true'), "wrong type: v: version"),
    "statement in capitals": (change("e" * 64, "E" * 64), "not a digest: v"),
    "statement too short": (change("e" * 64, "e" * 63), "not a digest: v"),
    "statement with algorithm": (change("e" * 64, f"sha256:{'e' * 64}"), "not a digest: v"),
    "statement null": (change(f'"{"e" * 64}"', "null"), "wrong type: v: statement_sha256"),
    "volume 0": (change('"volume":2,\n', '"volume":0,\n'), "no such volume: v, got volume 0 of 3"),
    "volume -1": (change('"volume":2,\n', '"volume":-1,\n'), "negative: v: volume, got -1"),
    "volume 4 of 3": (change('"volume":2,\n', '"volume":4,\n'), "no such volume: v, got volume 4 of 3"),
    "of 0": (change('"of":3', '"of":0'), "no such volume: v, got volume 2 of 0"),
    "of 1000": (change('"of":3', '"of":1000'), "no such volume: v, got volume 2 of 1000"),
    "of 2^53": (change('"of":3', '"of":9007199254740992'), "integer too large"),
    "of twice": (change('"of":3', '"of":3,\n"of":3'), "duplicate key: v, got 'of'"),
    "of and Of": (change('"of":3', '"of":3,\n"Of":3'), "keys differ in case only"),
    "unknown field": (change('"of":3', '"of":3,\n"note":1'), "unknown field: v, got 'note'"),
    "no blobs": (RAW[: RAW.index(b',\n"blobs"')] + b"}\n", "wrong type: v: blobs, want a list, got nothing"),
    "blobs as object": (RAW[: RAW.index(b"[\n")] + b"{}}\n", "wrong type: v: blobs"),
    "blob as text": (RAW[: RAW.index(b"[\n")] + b'["x"]}\n', "wrong type: v: blobs[0], want an object"),
    "blob that climbs out": (one_blob(part(), "sha256:../../../../etc/passwd"), "not a digest: v: blobs[0]"),
    "blob with a path": (one_blob(part(), f"blobs/sha256/{'b' * 64}"), "not a digest: v: blobs[0]"),
    "blob in capitals": (one_blob(part(), f"sha256:{'B' * 64}"), "not a digest: v: blobs[0]"),
    "blob of no known kind": (one_blob(part(), f"md5:{'b' * 32}"), "not a digest: v: blobs[0]"),
    "blob of half a kind": (one_blob(part(), f"sha512:{'b' * 64}"), "not a digest: v: blobs[0]"),
    "blob with more": (
        one_blob(part()).replace(b'"parts"', b'"name":"x","parts"'),
        "unknown field: v: blobs[0], got 'name'",
    ),
    "parts missing": (one_blob(part()).replace(b'"parts"', b'"files"'), "wrong type: v: blobs[0]: parts"),
    "no parts": (one_blob(""), "wrong number of parts: v: blobs[0], want 1 to 1000, got 0"),
    "1001 parts": (
        one_blob(",".join([part()] * 1001)),
        "wrong number of parts: v: blobs[0], want 1 to 1000, got 1001",
    ),
    "part of nothing": (one_blob(f"{part(1, 5)},{part(2, 0)}"), "empty part: v: blobs[0]"),
    "parts of nothing": (one_blob(f"{part(1, 0)},{part(2, 0)}"), "empty part: v: blobs[0]"),
    "part on volume 0": (one_blob(part(0)), "no such volume: v: blobs[0]: parts[0], want 1 to 3, got 0"),
    "part on volume 4": (one_blob(part(4)), "no such volume: v: blobs[0]: parts[0], want 1 to 3, got 4"),
    "part of negative size": (one_blob(part(1, -1)), "negative: v: blobs[0]: parts[0]: size"),
    "part of 2^53": (one_blob(part(1, 2**53)), "integer too large"),
    "part with an offset": (
        one_blob(part().replace("}", ',"offset":0}')),
        "unknown field: v: blobs[0]: parts[0]",
    ),
    "part with two sizes": (one_blob(part().replace("}", ',"size":2}')), "duplicate key"),
    "part without a sum": (one_blob('{"volume":1,"size":1}'), "wrong type: v: blobs[0]: parts[0]: sha256"),
    "part with a wrong sum": (
        one_blob(part().replace(SUMS["4"], "4" * 65)),
        "not a digest: v: blobs[0]: parts[0]",
    ),
    "part as a list": (one_blob("[1,2]"), "wrong type: v: blobs[0]: parts[0], want an object"),
    "a blob twice": (change(f"{WIDE}", f"{A}"), SPACE),
    "blobs not sorted": (RAW.replace(str(A).encode(), b"sha512:" + b"f" * 128), SPACE),
    "fields in another order": (change('"volume":2,\n"of":3', '"of":3,\n"volume":2'), SPACE),
    "a space": (change('"of":3', '"of": 3'), SPACE),
    "CRLF": (RAW.replace(b"\n", b"\r\n"), SPACE),
    "no last line feed": (RAW[:-1], SPACE),
    "escaped": (change(f'"{A}"', f'"\\u0073{str(A)[1:]}"'), SPACE),
    "re-dumped": (json.dumps(json.loads(RAW)).encode(), SPACE),
}


class TestTable:
    def test_the_bytes(self):
        assert TABLE.to_bytes() == RAW
        assert VolumeTable.parse(RAW, "v") == TABLE

    def test_no_blobs(self):
        empty = VolumeTable("e" * 64, 1, Cut(1, {}))
        assert empty.to_bytes().endswith(b'"blobs":[\n\n]}\n')
        assert VolumeTable.parse(empty.to_bytes(), "v") == empty

    def test_another_volume(self):
        assert TABLE.on(3) == replace(TABLE, volume=3)
        assert VolumeTable.parse(TABLE.on(3).to_bytes(), "v").volume == 3

    @pytest.mark.parametrize(("raw", "words"), BAD.values(), ids=BAD)
    def test_refused(self, raw, words):
        with pytest.raises(FormatError) as caught:
            VolumeTable.parse(raw, "v")
        assert words in str(caught.value)
        assert isinstance(caught.value, AmbiguousError) == words.startswith(("duplicate", "keys differ"))

    def test_a_newer_version_is_told(self):
        with pytest.raises(FormatError) as caught:
            VolumeTable.parse(change('"version":1', '"version":2'), "v")
        assert caught.value.hint == "a newer airgap may read it"

    def test_the_longest_that_may_be(self):
        most = Cut(MAX_VOLUMES, {A: tuple(Part(n % 999 + 1, 2**53 - 1, SUMS["5"]) for n in range(MAX_PARTS))})
        table = VolumeTable("e" * 64, MAX_VOLUMES, most)
        assert VolumeTable.parse(table.to_bytes(), "v") == table

    def test_a_limit_holds_before_the_parser_runs(self, monkeypatch):
        monkeypatch.setattr(module, "MAX_VOLUME_TABLE_BYTES", len(RAW) - 1)
        with pytest.raises(FormatError, match="too large"):
            VolumeTable.parse(RAW, "v")
