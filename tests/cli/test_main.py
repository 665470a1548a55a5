"""The program as a whole: usage, defects, progress, and the keys of JSON."""

import os
import pty
import re
import select
import subprocess
from pathlib import Path

import pytest

from airgap import __version__
from tests.cli.conftest import Gap, Side
from tests.cli.processes import PATIENCE, started
from tests.support.images import Layer, make_image, noise, simple_image

# -- usage


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "Usage: airgap"),
        (("nonsense",), "error: no such command 'nonsense'\nhint: airgap --help\n"),
        (("--nonsense",), "error: no such option: --nonsense\nhint: airgap --help\n"),
        (("pack",), "error: missing argument 'MANIFEST|IMAGE'\nhint: airgap pack --help\n"),
        (("pack", "stack.yaml"), "error: missing option '--to'\nhint: airgap pack --help\n"),
        (("init", "a"), "error: got unexpected extra argument"),
        (("load", "bundle"), "error: missing option '--to'\nhint: airgap load --help\n"),
        (("verify",), "error: missing argument 'BUNDLE'\n"),
        (("serve", ".", "--port", "70000"), "--port"),
        (("key",), "Usage: airgap key"),
        (("trust", "nonsense"), "error: no such command 'nonsense'\nhint: airgap trust --help\n"),
        (("audit", "log", "--limit", "0"), "--limit"),
    ],
)
def test_usage_errors(fresh: Side, words: tuple[str, ...], message: str) -> None:
    done = fresh(*words, code=2)
    assert message in done.err + done.out
    assert "Traceback" not in done.err


def test_usage_errors_in_json(fresh: Side) -> None:
    done = fresh("load", "bundle", "--json", code=2)
    assert done.json == {
        "error": {
            "kind": "UsageError",
            "message": "missing option '--to'",
            "hint": "airgap load --help",
            "exit_code": 2,
        }
    }
    assert done.err == "error: missing option '--to'\nhint: airgap load --help\n"


def test_version_and_help(fresh: Side) -> None:
    assert fresh("--version").out == f"airgap {__version__}\n"
    assert "Commands:" in fresh("--help").out
    assert "Examples:" in fresh("pack", "--help").out


@pytest.mark.parametrize("words", [("pack",), ("plan",), ("lock",)])
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "stack.yaml"),
        ("", "stack.yaml"),
        ("version: 1\nname: stack\nimages: []\n", "stack.yaml:3:9, want at least one"),
        ("version: 1\nname: stack\nimagse: [a]\n", "images"),
        ("a: &x 1\nb: *x\n", "anchor"),
        ("version: 2\nname: stack\nimages: [a]\n", "version"),
    ],
)
def test_manifests_that_cannot_be_read(
    gap: Gap, words: tuple[str, ...], text: str | None, message: str
) -> None:
    path = gap.folder / "stack.yaml"
    if text is not None:
        path.write_text(text)
    to = ("--to", gap.stick) if words == ("pack",) else ()
    done = gap.online(*words, path, *to, code=10)
    assert message in done.err
    assert re.fullmatch(r"error: .*\n(hint: .*\n)?", done.err)
    assert not gap.stick.exists()


# -- traces and defects


def test_debug_shows_where_and_keeps_the_code(fresh: Side) -> None:
    done = fresh("trust", "show", "--debug", code=2)
    assert "Traceback (most recent call last)" in done.err
    assert done.err.splitlines()[-2].startswith("error: there is no site here yet")
    assert "Traceback" not in fresh("trust", "show", code=2).err


def test_a_path_that_the_system_refuses_is_no_defect(gap: Gap) -> None:
    done = gap.offline("verify", "x" * 300, code=11)
    assert done.err.startswith("error: cannot open: xxx")
    assert "defect" not in done.err


def test_a_defect_does_not_look_like_an_answer(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("division \x1b[2J by zero")

    monkeypatch.setattr("airgap.site.Site.root", broken)
    done = gap.offline("trust", "show", code=1)
    assert done.err.splitlines() == [
        "error: unexpected failure: division \\x1b[2J by zero",
        "hint: this is a defect in airgap; --debug shows where",
    ]
    assert "ZeroDivisionError" in gap.offline("trust", "show", "--debug", code=1).err.split("error:")[0]


def test_names_from_outside_cannot_write_on_the_terminal(fresh: Side) -> None:
    done = fresh("key", "show", "\x1b[31mred\u202e", code=2)
    assert "\x1b" not in done.err
    done = fresh("verify", "a\x1b]0;title\x07b", code=2)
    assert "\x1b" not in done.err


# -- progress


def test_quiet_says_nothing(gap: Gap) -> None:
    path = gap.layout(api=simple_image("api"))
    to = f"oci:{gap.folder}/out"
    assert gap.online("lock", path, "--quiet").err == ""
    assert gap.online("plan", path, "-q").err == ""
    assert gap.online("pack", path, "--to", gap.stick, "-q").err == ""
    bundle = gap.stick / "stack-0001"
    assert gap.offline("inspect", bundle, "-q").err == ""
    assert gap.offline("verify", bundle, "-q").err == ""
    assert gap.offline("load", bundle, "--to", to, "-q").err == ""
    assert "error:" in gap.offline("verify", "nowhere", "-q", code=2).err


def test_plain_lines_without_a_terminal(gap: Gap) -> None:
    path = gap.layout(api=simple_image("api"))
    lines = gap.online("pack", path, "--to", gap.stick).err.splitlines()
    assert re.fullmatch(r"fetching: 3\.\d kB", lines[1])
    assert re.fullmatch(r"fetching: done, 3\.\d kB in \d+\.\d s \(.*/s\)", lines[2])
    assert len(lines) == 3


def on_terminal(home: Path, *words: object) -> tuple[int, str]:
    """Run a command whose stderr is a terminal; its exit code and what the terminal got."""
    ours, theirs = pty.openpty()
    got = bytearray()
    try:
        with started(home, *words, stdout=subprocess.DEVNULL, stderr=theirs) as process:
            os.close(theirs)
            while select.select([ours], [], [], PATIENCE)[0]:
                try:
                    data = os.read(ours, 4096)
                except OSError:  # how Linux says that nobody has the other end any more
                    break
                got += data
            code = process.wait(PATIENCE)
    finally:
        os.close(ours)
    return code, got.decode()


def test_bars_on_a_terminal(gap: Gap, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    image = make_image([Layer.of({"big": noise(3_000_000, 1)})])
    code, seen = on_terminal(gap.online.home, "pack", gap.layout(big=image), "--to", gap.stick)
    assert code == 0
    assert "no stack.lock.yaml: using the tags as they are now" in seen
    assert "\x1b[" in seen
    last = [line for line in seen.splitlines() if "fetching" in line][-1]
    assert "3.0/3.0 MB" in last
    assert re.search(r"[\d.]+ [kMG]B/s", last)


# -- JSON

CHOSEN = {"left_out", "platforms_by_default", "notes"}


KEYS = {
    "init": {"site", "home", "owner", "key", "keyid", "root", "fingerprint", "spare_key"},
    "key generate": {"owner", "keyid", "algorithm", "key"},
    "key list": {"keys", "site"},
    "key list .keys": {"owner", "algorithm", "keyid"},
    "key show": {"owner", "algorithm", "keyid", "pem"},
    "trust show": {
        "version", "epoch", "expires", "fingerprint", "keys", "roles", "revoked", "recalled", "sites",
        "warning",
    },
    "trust show .keys": {"keyid", "owner", "algorithm", "pem"},
    "trust install": {"sender_name", "version", "fingerprint", "site", "fresh", "recalled_loaded"},
    "lock": {"chart_problems", "guesses", "provenance", "tags", "lock", "images", "left_out", "relocked", "attachments_unknown"},
    "lock .images": {"certainty", "chart", "carried_files", "reference", "digest", "digest_kind", "platforms", *CHOSEN},
    "plan": {
        "name", "images", "exports", "blobs", "bytes", "spared_bytes", "free", "media", "volumes", "error",
        "attachments_unknown", "site_bases", "builds_on", "compared_bundle",
    },
    "plan .images": {
        "carried_files", "reference", "as", "digest", "change", "platforms", "blobs", "bytes", *CHOSEN,
    },
    "pack": {
        "bundle", "volumes", "stream", "serial", "statement_sha256", "bytes", "files", "images", "fresh", "error",
        "media", "read_back", "requires", "attachments_unknown", "builds_on",
    },
    "pack .images": {"carried_files", "reference", "digest", "platforms", *CHOSEN},
    "inspect": {"sbom", "sender_name",
        "bundle", "stream", "serial", "epoch", "created", "expires", "destinations", "transfer", "sender",
        "tool_version", "statement_sha256", "owners", "keys", "threshold", "root_version", "bytes",
        "files", "images", "refusal", "volumes", "volumes_here", "requires", "vouched", "error", "recalled",
        "builds_on",
    },
    "inspect .images": {"carried_files", "reference", "as", "kind", "digest", "platforms", "source"},
    "verify": {"bundles", "recalled_loaded"},
    "verify .bundles": {"identities", "sender_name",
        "bundle", "volumes", "statement_sha256", "owners", "keys", "threshold", "files", "bytes", "repeat", "missed",
        "requires", "hollow", "refused_names",
    },
    "load": {"identities", "not_pruned", "pruned", "sender_name",
        "bundle", "target", "engine", "statement_sha256", "receipt", "receipt_copies", "content_from", "images", "error",
        "recalled_loaded",
    },
    "load .receipt_copies": {"path", "error"},
    "load .images": {
        "carried_files", "reference", "digest", "verdict", "moved", "reason", "before", "after", "digest_kind",
        "error",
    },
    "audit log": {"entries"},
    "audit log .entries": {
        "seq", "time", "user", "event", "result", "exit_code", "bundle", "images", "where", "reason", "details",
    },
    "audit show": {
        "seq", "time", "user", "event", "result", "exit_code", "bundle", "images", "where", "reason", "details",
    },
    "audit find": {"found"},
    "audit find .found": {
        "time", "site", "event", "result", "user", "bundle", "reference", "digest", "where", "recalled",
    },
    "audit export": {"entries"},
    "audit report": {"site", "time", "ledger", "counts", "alarms", "sent", "loaded", "lost_media", "odd"},
    "audit report .loaded": {"bundle", "time", "operator", "claimed_operator", "target", "result", "receipt", "recalled"},
    "audit verify": {"alarms", "size", "head", "root", "witnesses", "open", "torn", "backwards", "unreadable"},
    "sign": {"bundle", "statement_sha256", "owners", "wanted", "fresh"},
    "receipt show": {"receipts"},
    "receipt show .receipts": {"pruned",
        "site", "bundle", "statement_sha256", "time", "result", "target", "engine", "operator", "claimed_operator", "keys",
        "root_version", "checkpoint", "images", "blobs_held", "step_back",
    },
}  # fmt: skip
"""The stable machine interface: a key may be added here, none may go or be renamed."""


def test_the_keys_of_json_are_stable(gap: Gap, fresh: Side) -> None:
    path = gap.layout(api=simple_image("api"))
    root = gap.online.home / "trust" / "1.root.json"
    bundle = gap.stick / "stack-0001"
    said = {
        "init": fresh("init", "--json"),
        "key generate": fresh("key", "generate", "bob", "--json"),
        "key list": fresh("key", "list", "--json"),
        "key show": fresh("key", "show", "bob", "--json"),
        "trust show": fresh("trust", "show", "--json"),
        "trust install": gap.offline("trust", "install", root, "--json"),
        "lock": gap.online("lock", path, "--json"),
        "plan": gap.online("plan", path, "--json"),
        "pack": gap.online("pack", path, "--to", gap.stick, "--json"),
        "sign": gap.online("sign", bundle, "--yes", "--json"),
        "inspect": gap.offline("inspect", bundle, "--json"),
        "verify": gap.offline("verify", bundle, "--json"),
        "load": (done := gap.offline("load", bundle, "--to", f"oci:{gap.folder}/out", "--json")),
        "receipt show": gap.offline("receipt", "show", done.json["receipt"], "--json"),
        "audit show": gap.offline("audit", "show", "1", "--json"),
        "audit find": gap.offline("audit", "find", "example.com/api", "--json"),
        "audit export": gap.offline("audit", "export", "--json"),
        "audit report": gap.offline("audit", "report", "--json"),
        "audit log": gap.offline("audit", "log", "--json"),
        "audit verify": gap.offline("audit", "verify", "--json"),
    }
    found = {command: set(done.json) for command, done in said.items()}
    for name in KEYS:
        command, _, part = name.partition(" .")
        if part:
            found[name] = set(said[command].json[part][0])
    assert found == KEYS
