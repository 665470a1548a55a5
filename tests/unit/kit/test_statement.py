import json

import pytest

from airgap.errors import FormatError
from airgap.kit.statement import KitStatement, KitTarget
from airgap.limits import MAX_KIT_STATEMENT_BYTES
from airgap.oci.digest import Digest

A = Digest.of(b"a").hex
TARGETS = (KitTarget("linux-x86_64", "3.11"), KitTarget("musllinux-aarch64", "3.14"))
NAMES = ("SHA256SUMS", "install.sh", TARGETS[0].requirements_file, "wheels/PyYAML-6.0+l-cp311-cp311-m.whl")
FULL = KitStatement(
    subjects=dict.fromkeys(NAMES, A), targets=TARGETS, total_bytes=1234, site="hq", version="1.0"
)


def test_round_trip():
    raw = FULL.to_bytes()
    assert KitStatement.parse(raw) == FULL
    assert json.loads(raw)["predicateType"] == "urn:airgap:kit:v1"
    assert f'{{"name":"SHA256SUMS","digest":{{"sha256":"{A}"}}}}'.encode() in raw.splitlines()[2]
    assert FULL.title == "airgap-kit-1.0"


def test_targets():
    target = KitTarget.parse("linux-x86_64-py3.11", "test")
    assert target == TARGETS[0]
    assert (str(target), target.minor) == ("linux-x86_64-py3.11", 11)
    assert target.requirements_file == "requirements/linux-x86_64-py3.11.txt"


@pytest.mark.parametrize(
    "text", ["", "linux-x86_64", "linux-x86_64-py2.7", "../x-py3.11", "linux-x86_64-py3.11\n"]
)
def test_no_targets(text):
    with pytest.raises(FormatError, match="not a target"):
        KitTarget.parse(text, "test")


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (b"kit:v1", b"kit:v2", "unexpected value"),
        (b"in-toto.io/Statement/v1", b"in-toto.io/Statement/v2", "unexpected value"),
        (b'"name":"airgap"', b'"name":"other"', "unexpected value"),
        (b'"site":"hq"', b'"site":"hq","more":1', "unknown field"),
        (b'"python":"3.11"', b'"python":"3.11","more":1', "unknown field"),
        (b'"python":"3.11"', b'"python":"2.11"', "not a target"),
        (b'"total_bytes":1234', b'"total_bytes":-1', "negative"),
        (b'"install.sh"', b'"install.bat"', "not a file of a kit"),
        (b'"install.sh"', b'"../install.sh"', "not a file of a kit"),
        (b'"wheels/PyYAML', b'"wheels/a/b', "not a file of a kit"),
        (b'"install.sh"', b'"SHA256SUMS"', "listed twice"),
        (A.encode(), A.upper().encode(), "not a digest"),
        (b'"site":"hq"', b'"site": "hq"', "not in canonical form"),
        (b"{", b"[", "not JSON"),
    ],
)  # fmt: skip
def test_refused(old, new, words):
    raw = FULL.to_bytes()
    assert old in raw
    with pytest.raises(FormatError, match=words):
        KitStatement.parse(raw.replace(old, new, 1))


def test_too_large():
    with pytest.raises(FormatError, match="too large"):
        KitStatement.parse(FULL.to_bytes() + b" " * MAX_KIT_STATEMENT_BYTES)
