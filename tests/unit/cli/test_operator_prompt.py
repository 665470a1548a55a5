"""The question for the next volume, at a terminal and where there is none; and what a copy tells."""

import io
from pathlib import Path
from types import SimpleNamespace

import pytest

from airgap.bundle.check_written import OnMedia, ReadBackResult
from airgap.bundle.medium import Medium
from airgap.carry.operator import Wanted, never_ask
from airgap.carry.receive import Received
from airgap.cli.console import proof_lines
from airgap.cli.operator_prompt import make_operator, next_volume, received_lines, received_value
from airgap.cli.options import MediaWriting, Output
from airgap.progress import Silent

TITLE = "stack-0001"
UNREAD = OnMedia((), ReadBackResult.SKIPPED)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the last volume was; beside it is another mount point that has the next one."""
    (tmp_path / "last").mkdir()
    (tmp_path / "other" / f"{TITLE}.v2").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    return Path("last")


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        ("\n", f"last/{TITLE}.v2"),
        ("   \n", f"last/{TITLE}.v2"),
        (f"other/{TITLE}.v2\n", f"other/{TITLE}.v2"),
        (f"  other/{TITLE}.v2  \n", f"other/{TITLE}.v2"),
        ("other\n", f"other/{TITLE}.v2"),
        ("other/\n", f"other/{TITLE}.v2"),
        ("other", f"other/{TITLE}.v2"),  # no line feed before the end of the input
        ("last\n", "last"),  # it has no such volume: what is there will be told
        ("nowhere\n", "nowhere"),
        (f"other/{TITLE}.v2\nmore\n", f"other/{TITLE}.v2"),
        ("a folder with blanks\n", "a folder with blanks"),
        ("", None),
    ],
)
def test_answers(near, monkeypatch, answer, found):
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    assert next_volume(Wanted(TITLE, 2, 3, near)) == (None if found is None else Path(found))


def test_a_home_folder_in_an_answer(near, monkeypatch, tmp_path):
    monkeypatch.setattr("sys.stdin", io.StringIO("~/other\n"))
    assert next_volume(Wanted(TITLE, 2, 3, near)) == tmp_path / "other" / f"{TITLE}.v2"


def test_what_is_asked(near, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    next_volume(Wanted(TITLE, 2, 3, Path("/media/stick\x1b[2J")))
    out, err = capsys.readouterr()
    assert out == ""  # that is where the result goes, which may be JSON
    assert err == (
        f"insert volume 2 of 3 of {TITLE}, then press Enter (/media/stick\\x1b[2J/{TITLE}.v2),\n"
        "or type the path of its folder: "
    )


def test_the_end_of_the_input_ends_the_line(near, monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO())
    assert next_volume(Wanted(TITLE, 2, 3, near)) is None
    assert capsys.readouterr().err.endswith("folder: \n")


def test_who_is_asked(monkeypatch):
    monkeypatch.setattr(
        "airgap.cli.operator_prompt.open_site", lambda: SimpleNamespace(site="plant-7", now=None)
    )
    monkeypatch.setattr("sys.stdin", Terminal())
    assert make_operator(1, Output(quiet=True)).ask is next_volume
    monkeypatch.setattr("sys.stdin", None)  # as under a supervisor that closes it
    assert make_operator(1, Output(quiet=True)).ask is never_ask
    monkeypatch.setattr("sys.stdin", io.StringIO())
    found = make_operator(3, Output(quiet=True), MediaWriting(allow_system_disk=True, read_back=False))
    assert found.ask is never_ask
    assert (found.jobs, found.allow_system, found.read_back) == (3, True, False)
    assert isinstance(found.progress, Silent)


def received(*paths: str, written: int = 0, proof: OnMedia = UNREAD) -> Received:
    statement = SimpleNamespace(title=TITLE, total_bytes=8_500_000)
    bundle = SimpleNamespace(statement=statement, statement_sha256="ab" * 32, sender="")
    return Received(bundle, tuple(map(Path, paths)), written, proof)  # type: ignore[arg-type]


STICK = Medium(Path("/media/stick"), file_system="vfat", label="STICK", size=31_000_000_000, free=7_000_000)


@pytest.mark.parametrize(
    ("found", "lines"),
    [
        (received("x/s", written=7), ["complete: x/s (8.5 MB, 7 blobs written)"]),
        (received("x/s", written=1), ["complete: x/s (8.5 MB, 1 blob written)"]),
        (received("x/s"), ["complete: x/s (8.5 MB, every blob was there already, and correct)"]),
        (
            received("a/s.v1", "b\x1b/s.v2", written=2),
            [
                f"complete: {TITLE} on 2 volumes (8.5 MB, 2 blobs written)",
                "  volume 1: a/s.v1",
                "  volume 2: b\x1b/s.v2",  # shown by `show_result`, which escapes it
            ],
        ),
        (
            received("x/s", written=1, proof=OnMedia((STICK,), ReadBackResult.OK)),
            [
                "complete: x/s (8.5 MB, 1 blob written)",
                'medium: vfat "STICK", 31.0 GB, 7.0 MB free at /media/stick',
                "read back from the medium: every byte is correct",
            ],
        ),
        (
            received("x/s", written=1, proof=OnMedia((), ReadBackResult.CACHED, fresh=True)),
            [
                "complete: x/s (8.5 MB, 1 blob written)",
                (
                    "read back: correct, but some of it may have come from the cache; unplug the medium, plug it "
                    "in again, and run `airgap verify --media`"
                ),
            ],
        ),
    ],
)
def test_what_a_copy_tells(found, lines):
    assert received_lines(found) == lines


def test_no_second_read_is_suggested_after_a_read_of_the_medium():
    """What `verify --media` cannot show the first time, it never can."""
    (line,) = proof_lines(OnMedia((), ReadBackResult.CACHED))
    assert "verify --media" not in line
    assert line.endswith("rely on `airgap verify` on the receiving machine")


def test_what_a_copy_tells_machines():
    proof = OnMedia((STICK,), ReadBackResult.OK)
    assert received_value(received("a/s.v1", "b/s.v2", written=2, proof=proof)) == {
        "bundle": "a/s.v1",
        "volumes": ["a/s.v1", "b/s.v2"],
        "statement_sha256": "ab" * 32,
        "sender_name": None,
        "bytes": 8_500_000,
        "blobs_written": 2,
        "media": [STICK.record() | {"read": True}],
        "read_back": "ok",
    }
