import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airgap.bundle.delta_bases import BaseReceipt, DeltaBase
from airgap.bundle.statement import (
    ImageRecord,
    LedgerCheckpoint,
    PlatformRecord,
    Previous,
    Requirement,
    SendingSite,
    Statement,
)
from airgap.bundle.upstream import UpstreamIdentity, UpstreamSignature, trusted_root_file
from airgap.errors import FormatError
from airgap.limits import MAX_STATEMENT_BYTES
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference

A, B = Digest.of(b"a"), Digest.of(b"b")
NAME = ImageReference.parse("a.test/x:1")
IMAGE = ImageRecord(
    reference=NAME,
    name=NAME,
    kind="image",
    digest=A,
    platforms=(PlatformRecord("linux/amd64", A, B),),
    source="registry",
)
NOW = datetime(2026, 6, 1, tzinfo=UTC)
FULL = Statement(
    subjects={"index.json": A.hex, A.path: A.hex, "SHA256SUMS": B.hex},
    stream="edge-stack",
    serial=7,
    epoch=2,
    previous=Previous(6, B.hex),
    created=NOW,
    not_before=NOW,
    expires=NOW.replace(year=2027),
    destinations=("plant-7", "plant-8"),
    images=(IMAGE, replace(IMAGE, name=ImageReference.parse(f"a.test/y@{A}"), kind="artifact")),
    requires=(Requirement(B, 70, ("a.test/x:1",)),),
    total_bytes=1234,
    manifest_sha256=A.hex,
    root_version=3,
    sender=SendingSite("hq", LedgerCheckpoint("hq", 12, B.hex)),
    transfer={"approver": "Zoë", "ticket": "CHG-1"},
    tool_version="1.0",
)
UPSTREAM = UpstreamSignature("-----BEGIN PUBLIC KEY-----\n", B.hex, B)
SIGNED = replace(FULL, images=(replace(IMAGE, upstream_signature=UPSTREAM),))
IDENTITY = UpstreamIdentity(issuer="https://issuer.example", subject="a@b", trusted_root=A.hex, manifest=B)
KEYLESS = replace(
    FULL,
    images=(replace(IMAGE, upstream_signature=IDENTITY),),
    subjects={**FULL.subjects, trusted_root_file(A.hex): A.hex},
)
DELTA = replace(
    FULL,
    bases=(
        DeltaBase(stream="edge-stack", epoch=2, serial=6),
        DeltaBase(stream="edge-stack", epoch=2, serial=5, receipt=BaseReceipt("plant-7", A.hex, NOW)),
    ),
)
PLAIN = replace(FULL, previous=None, sender=None, images=(), requires=(), destinations=(), transfer={})


@pytest.mark.parametrize(
    "statement", [FULL, SIGNED, KEYLESS, DELTA, PLAIN], ids=["full", "signed", "keyless", "delta", "plain"]
)
def test_round_trip(statement):
    raw = statement.to_bytes()
    assert Statement.parse(raw) == statement
    assert json.loads(raw)["predicate"]["stream"] == "edge-stack"


def test_one_file_and_one_image_a_line():
    lines = FULL.to_bytes().decode("ascii").splitlines()
    assert f'{{"name":"index.json","digest":{{"sha256":"{A.hex}"}}}}' in lines
    assert sum(line.startswith('{"reference":') for line in lines) == 2
    assert '"serial":7,' in lines
    assert '"images":[],' in PLAIN.to_bytes().decode("ascii").splitlines()
    assert lines[-2:] == ['"tool":{"name":"airgap","version":"1.0"}}', "}"]


def test_title():
    assert FULL.title == "edge-stack-0007"
    assert replace(FULL, serial=12345).title == "edge-stack-12345"


CHANGES = {
    "space": (b'"serial":7', b'"serial": 7', "not in canonical form"),
    "no line feed": (b'"serial":7,\n', b'"serial":7,', "not in canonical form"),
    "escape": (b'"stream":"edge', b'"stream":"\\u0065dge', "not in canonical form"),
    "name unsorted": (b'"name":"SHA256SUMS"', b'"name":"oci-layout"', "not in canonical form"),
    "short reference": (b'"reference":"a.test/x:1","as":"a.test/x:1"', b'"reference":"x","as":"a.test/x:1"', "not in canonical form"),
    "unknown field": (b'"serial":7', b'"serial":7,\n"x":1', "unknown field: statement.json: predicate, got 'x'"),
    "unknown field on top": (b'{"_type"', b'{"x":1,"_type"', "unknown field: statement.json, got 'x'"),
    "unknown field of a file": (b'{"name":"index.json",', b'{"name":"index.json","x":1,', "unknown field: statement.json: subject[2]"),
    "unknown digest of a file": (f'"sha256":"{A.hex}"}}}},\n{{"name":"index'.encode(), f'"sha512":"","sha256":"{A.hex}"}}}},\n{{"name":"index'.encode(), "unknown field: statement.json: subject[1]: digest"),
    "unknown field of an image": (b'"source":"registry","upstream_signature":null},', b'"x":1,"source":"registry","upstream_signature":null},', "unknown field: statement.json: predicate: images[0]"),
    "unknown field of the sender": (b'"site":"hq"', b'"site":"hq","x":1', "unknown field"),
    "unknown field of the checkpoint": (b'"origin":"hq"', b'"origin":"hq","x":1', "unknown field"),
    "unknown field of what is before": (b'"previous":{', b'"previous":{"x":1,', "unknown field"),
    "unknown field of a requirement": (b'"size":70', b'"size":70,"x":1', "unknown field"),
    "unknown field of the tool": (b'"tool":{', b'"tool":{"x":1,', "unknown field"),
    "statement type": (b"in-toto.io/Statement/v1", b"in-toto.io/Statement/v0.1", "unexpected value: statement.json: _type"),
    "predicate type": (b"urn:airgap:bundle:v1", b"urn:airgap:bundle:v2", "want urn:airgap:bundle:v1, got 'urn:airgap:bundle:v2'"),
    "tool": (b'"tool":{"name":"airgap"', b'"tool":{"name":"other"', "unexpected value: statement.json: predicate: tool: name"),
    "stream": (b'"stream":"edge-stack"', b'"stream":"Edge"', "not a stream name"),
    "stream with a path": (b'"stream":"edge-stack"', b'"stream":"../edge"', "not a stream name"),
    "no stream": (b'"stream":"edge-stack"', b'"stream":null', "want a string, got nothing"),
    "serial 0": (b'"serial":7', b'"serial":0', "the serial is below 1"),
    "serial below": (b'"serial":7', b'"serial":-7', "negative"),
    "serial before": (b'"previous":{"serial":6', b'"previous":{"serial":"6"', "want an integer, got a string"),
    "digest before": (b'"statement_sha256":"', b'"statement_sha256":"x', "not a digest"),
    "time": (b'"created":"2026-06-01T00:00:00Z"', b'"created":"2026-06-01"', "not a time"),
    "no such day": (b'"created":"2026-06-01T00:00:00Z"', b'"created":"2026-06-31T00:00:00Z"', "not a time"),
    "time with a zone": (b'"created":"2026-06-01T00:00:00Z"', b'"created":"2026-06-01T00:00:00+00:00"', "not a time"),
    "destinations": (b'["plant-7","plant-8"]', b'"plant-7"', "want a list, got a string"),
    "a destination": (b'["plant-7","plant-8"]', b'["plant-7",8]', "want strings, got an integer"),
    "kind": (b'"kind":"artifact"', b'"kind":"helm"', "unknown kind"),
    "image digest": (f'"kind":"image","digest":"{A}"'.encode(), b'"kind":"image","digest":"sha256:x"', "not a digest"),
    "image name": (b'"as":"a.test/x:1"', b'"as":"a.test/X:1"', "repository names are lower-case"),
    "one name in two spellings": (f'"as":"a.test/y@{A}"'.encode(), f'"as":"A.test:443/x:1@{A}"'.encode(), f"two images have the same name: statement.json: predicate, got a.test/x:1 and A.test:443/x:1@{A}"),
    "digest of another": (f'"as":"a.test/y@{A}"'.encode(), f'"as":"a.test/y@{B}"'.encode(), "the name has the digest of another image"),
    "digest of another beside a tag": (f'"as":"a.test/y@{A}"'.encode(), f'"as":"a.test/y:1@{B}"'.encode(), "the name has the digest of another image"),
    "passing name": (f'"as":"a.test/y@{A}"'.encode(), f'"as":"airgap.invalid/loading/1:{A.hex}"'.encode(), "airgap.invalid is reserved for temporary names while airgap loads images"),
    "two of one name": (f'"as":"a.test/y@{A}"'.encode(), b'"as":"a.test/x:1"', "two images have the same name"),
    "transfer": (b'"ticket":"CHG-1"', b'"ticket":1', "want an object of strings"),
    "transfer list": (b'"transfer":{', b'"transfer":[],"x":{', "wrong type"),
    "manifest": (b'"manifest_sha256":"', b'"manifest_sha256":"X', "not a digest"),
    "total": (b'"total_bytes":1234', b'"total_bytes":1234.0', "not an integer"),
    "root version": (b'"root_version":3', b'"root_version":9007199254740992', "integer too large"),
    "checkpoint": (b'"checkpoint":{"origin":"hq"', b'"checkpoint":{"origin":7', "want a string"),
    "file outside": (b'"name":"index.json"', b'"name":"../index.json"', "not a file of a bundle"),
    "absolute file": (b'"name":"index.json"', b'"name":"/index.json"', "not a file of a bundle"),
    "file with a line feed": (b'"name":"index.json"', b'"name":"index.json\\n"', "not a file of a bundle"),
    "envelope": (b'"name":"index.json"', b'"name":"bundle.dsse.json"', "not a file of a bundle"),
    "signature": (b'"name":"index.json"', b'"name":"sig/aaaaaaaaaaaaaaaa.sig"', "not a file of a bundle"),
    "root 0": (b'"name":"index.json"', b'"name":"trust/0.root.json"', "not a file of a bundle"),
    "short blob": (b'"name":"index.json"', b'"name":"blobs/sha256/00"', "not a file of a bundle"),
    "file twice": (b'"name":"index.json"', b'"name":"SHA256SUMS"', "the file is listed twice"),
    "upper-case digest": (f'"sha256":"{B.hex}"}}}},\n{{"name":"blobs'.encode(), f'"sha256":"{B.hex.upper()}"}}}},\n{{"name":"blobs'.encode(), "not a digest"),
}  # fmt: skip


@pytest.mark.parametrize(("old", "new", "words"), CHANGES.values(), ids=CHANGES)
def test_refused(old, new, words):
    raw = FULL.to_bytes()
    assert raw.count(old) == 1
    with pytest.raises(FormatError) as caught:
        Statement.parse(raw.replace(old, new))
    assert words in str(caught.value)


@pytest.mark.parametrize("where", ["upstream_signature", "platforms[1]"])
def test_an_unknown_field_deep_in_an_image(where):
    platforms = (*IMAGE.platforms, PlatformRecord("linux/arm64", B, A))
    images = (replace(SIGNED.images[0], platforms=platforms),)
    value = json.loads(replace(SIGNED, images=images).to_bytes())
    image = value["predicate"]["images"][0]
    (image["platforms"][1] if "platforms" in where else image[where])["x"] = 1
    with pytest.raises(FormatError) as caught:
        Statement.parse(json.dumps(value).encode())
    assert f"images[0]: {where}, got 'x'" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "source", "locked"),
    [
        ("a.test/y:1", "registry", "a.test/y:1"),
        ("a.test/y:1", "docker, repacked", "a.test/y:1"),
        (f"a.test/y@{A}", "registry", f"a.test/y@{A}"),
        (f"a.test/y@{A}", "docker, repacked", "a.test/x:1"),
    ],
)
def test_repacking_changes_a_name_without_a_tag(name, source, locked):
    record = replace(IMAGE, name=ImageReference.parse(name), source=source)
    assert str(record.locked_name) == locked


@pytest.mark.parametrize("key", ["platform", "digest", "config_digest", "upstream_signature"])
def test_refused_in_a_platform(key):
    value = json.loads(FULL.to_bytes())
    place = value["predicate"]["images"][0]
    (place if key in place and key != "digest" else place["platforms"][0])[key] = 7
    with pytest.raises(FormatError, match=key if key != "digest" else "digest"):
        Statement.parse(json.dumps(value).encode())


def test_a_newer_writer_is_named():
    raw = (
        FULL.to_bytes()
        .replace(b'"version":"1.0"', b'"version":"9.9"')
        .replace(b'"serial":7', b'"serial":7,"x":1')
    )
    with pytest.raises(FormatError) as caught:
        Statement.parse(raw)
    assert caught.value.hint == "the bundle was written by airgap 9.9; use that version or a later one"


def test_limit():
    with pytest.raises(FormatError, match=f"too large: .*, want at most {MAX_STATEMENT_BYTES:,} bytes"):
        Statement.parse(b" " * (MAX_STATEMENT_BYTES + 1))


@settings(max_examples=100)
@given(st.integers(0, len(FULL.to_bytes()) - 1), st.integers(0, 255))
def test_one_changed_byte_never_reads_as_the_same(at, byte):
    raw = bytearray(FULL.to_bytes())
    if raw[at] == byte:
        return
    raw[at] = byte
    try:
        found = Statement.parse(bytes(raw))
    except FormatError:
        return
    assert found != FULL
    assert found.to_bytes() == bytes(raw)


TEXT = st.text(max_size=8)
NUMBER = st.integers(1, 2**53 - 1)


@given(
    serial=NUMBER,
    epoch=NUMBER,
    total=NUMBER,
    transfer=st.dictionaries(st.text(max_size=4).filter(lambda k: k == k.casefold()), TEXT, max_size=3),
    destinations=st.lists(TEXT, max_size=3),
)
def test_whatever_is_stated_is_read(serial, epoch, total, transfer, destinations):
    stated = replace(
        FULL,
        serial=serial,
        epoch=epoch,
        total_bytes=total,
        transfer=transfer,
        destinations=tuple(destinations),
    )
    assert Statement.parse(stated.to_bytes()) == stated
