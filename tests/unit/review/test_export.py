import csv
import io
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone

import pytest

from airgap.audit.report import LedgerEntry
from airgap.review.export import COLUMNS, medium_name, write_csv

TIME = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)


def entry(**details):
    return LedgerEntry(
        seq=7,
        time=TIME,
        event="load",
        result="ok",
        exit_code=0,
        user="jo",
        duration=timedelta(1),
        details=details,
        site="hq",
        host="host-1",
    )


def table(*entries, **signers):
    out = io.StringIO(newline="")
    write_csv(entries, out, signers)
    return list(csv.DictReader(io.StringIO(out.getvalue(), newline="")))


def test_a_row_for_each_image():
    images = [{"reference": f"r.test/{name}:1", "digest": f"sha256:{name}"} for name in "ab"]
    effect = [{"reference": "r.test/b:1", "verdict": "loaded", "before": None, "after": "sha256:b"}]
    bundle = {"stream": "edge", "serial": 3, "statement_sha256": "5" * 64}
    one, two = table(entry(bundle=bundle, images=images, effect=effect, target="docker"))
    assert tuple(one) == COLUMNS
    assert (one["seq"], one["bundle"], one["reference"], one["verdict"]) == (
        "7",
        "edge-0003",
        "r.test/a:1",
        "",
    )
    assert (two["verdict"], two["before"], two["after"], two["where"]) == ("loaded", "", "sha256:b", "docker")
    assert two["statement_sha256"] == "5" * 64


def test_a_row_where_there_is_no_image():
    [row] = table(entry(error="no space", media=[{"vendor": "SanDisk", "serial": "4C", "label": "X"}, 7]))
    assert (row["reference"], row["error"], row["media"]) == ("", "no space", 'SanDisk 4C "X"; ')


def test_a_torn_line():
    [row] = table(
        LedgerEntry(
            seq=3,
            time=None,
            event="torn",
            result="unreadable",
            exit_code=None,
            user="",
            duration=None,
            details={"problem": "not JSON"},
        )
    )
    assert (row["time_utc"], row["exit_code"], row["result"]) == ("", "", "unreadable")


def test_details_of_other_types_than_ours():
    [row] = table(entry(images="all", effect="much", media={"a": 1}, bundle=[1]))
    assert row["bundle"] == row["media"] == row["verdict"] == ""


def test_no_sign_that_is_read_as_one_begins_a_cell():
    signs = [chr(code) for code in range(0x110000) if unicodedata.normalize("NFKC", chr(code)) in "=+-@"]
    assert len(signs) > 15
    for sign in filter(str.isprintable, (*signs, "\u2212")):
        [row] = table(entry(error=f"{sign}1"))
        assert row["error"] == f"'{sign}1", hex(ord(sign))


def test_no_cell_is_a_formula():
    for text in ("=cmd(' /C calc'!A0)", "+1", "-1", "@SUM(A1)", "\uff1d1", "\uff0b1", "\uff0d1", "\uff20A"):
        [row] = table(entry(error=text))
        assert row["error"] == f"'{text}"


@pytest.mark.parametrize(
    ("text", "harmless"),
    [
        (" =1", "' =1"),
        ("a;=1", "a;'=1"),
        ("a; =1", "a;' =1"),
        ("a|@x", "a|'@x"),
        ("a,\uff1dx", "a,'\uff1dx"),
        ("a-b", "a-b"),
        ('"=1"', '\'"=1"'),
        ('a;"=1"', 'a;\'"=1"'),
        ('a; " @x', "a;' \" @x"),
    ],
)
def test_no_part_of_a_cell_is_a_formula_where_another_separator_is_used(text, harmless):
    [row] = table(entry(error=text))
    assert row["error"] == harmless


@pytest.mark.parametrize("text", ["\x1b]0;x\x07", "\tx", "\rx", "\n=1", "\u202e"])
def test_no_cell_speaks_to_a_terminal(text):
    [row] = table(entry(error=text))
    assert row["error"].isprintable()
    assert not row["error"].startswith("=")


def test_commas_and_quotes_stay_in_their_cell():
    [row] = table(entry(error='a,"b"\nc'))
    assert row["error"] == 'a,"b"\\nc'


def test_names_of_media():
    assert medium_name({"vendor": "SanDisk", "product": "Ultra", "serial": "4C53"}) == "SanDisk Ultra 4C53"
    assert medium_name({"mount_point": "/media/x"}) == "/media/x"
    assert medium_name("x") == medium_name({}) == ""


def test_a_row_says_whose_and_what_it_is():
    """The sheet can be filtered by site, signer, ticket and platform."""
    images = [{"reference": "r.test/a:1", "digest": "sha256:a", "platforms": ["linux/amd64", "linux/arm64"]}]
    checks = {"owners": ["alice", "bob"], "root_version": 3}
    [row] = table(
        entry(
            images=images, checks=checks, transfer=["ticket=CHG-7", "approver=Anne = Bea"], bytes=1234,
            claimed_user="eve", bundle={"stream": "edge", "serial": 3, "statement_sha256": "5" * 64},
        )
    )  # fmt: skip
    assert [row[name] for name in ("site", "host", "user", "claimed_user")] == ["hq", "host-1", "jo", "eve"]
    assert [row[name] for name in ("ticket", "transfer")] == ["CHG-7", "ticket=CHG-7; approver=Anne = Bea"]
    assert [row[name] for name in ("signer", "root_version")] == ["alice; bob", "3"]
    assert [row[name] for name in ("platform", "bundle_bytes")] == ["linux/amd64 linux/arm64", "1234"]


def test_times_are_such_as_spreadsheets_read():
    [row] = table(entry())
    assert row["time_utc"] == "2026-01-31 12:00:00"
    east = replace(entry(), time=datetime(2026, 1, 31, 14, 0, tzinfo=timezone(timedelta(hours=2))))
    assert table(east)[0]["time_utc"] == "2026-01-31 12:00:00"


def test_the_site_of_a_receipt_is_the_one_that_answered():
    assert table(entry(from_site="plant-7"))[0]["site"] == "plant-7"


def test_a_bundle_that_was_sealed_here_has_the_signers_of_its_envelope():
    [row] = table(entry(statement_sha256="abc"), abc=("alice",))
    assert row["signer"] == "alice"
    [row] = table(entry(statement_sha256="abc", owners=["alice", "bob"]), abc=("alice",))
    assert row["signer"] == "alice; bob"


@pytest.mark.parametrize("value", [7, "x", {"a": 1}, [{}], None])
def test_a_record_of_other_types(value):
    [row] = table(entry(transfer=value, checks=value, owners=value, bytes=value, from_site=None))
    assert row["ticket"] == ""
