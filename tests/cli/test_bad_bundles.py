"""Bundles that must be refused: each with its exit code and its message, by verify and load alike."""

import os
import re
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from airgap.bundle.contents import ENVELOPE_FILE, STATEMENT_FILE, SUMS_FILE
from airgap.cli.main import main
from airgap.oci.documents import OCI_MANIFEST
from airgap.oci.reference import ImageReference
from tests.cli.false_bundles import CANONICAL, JUDGED, LIES, WRONG
from tests.cli.refusals import at_home, check_refused
from tests.support.bundles import (
    RECEIVER,
    TWO,
    Gap,
)
from tests.support.harms import (
    CONFIG,
    IMAGES,
    JSON_BOMB,
    LAYER,
    MANIFEST,
    OTHER_CONFIG,
    PLAIN,
    PLAIN_CONFIG,
    PLAIN_LAYER,
    STRANGER,
    Case,
    Harm,
    b64,
    config,
    cut,
    descriptor,
    device,
    document,
    empty,
    envelope,
    first_image,
    first_platform,
    flip,
    forge,
    grow,
    index,
    instead,
    layer,
    listen,
    payload,
    remove,
    resign,
    restate,
    second_root,
    subject,
    swap,
    write,
)

NOT_SIGNED = "not the statement that was signed"


UNLISTED = "file that the statement does not list"


FOLDER = "folder that the statement does not list"


IRREGULAR = "not a regular file"


DAMAGE: dict[str, Case] = {
    "flip envelope's payload": (flip(ENVELOPE_FILE, 12), 13, "does not match the signed bytes (alice"),
    "flip envelope's end": (flip(ENVELOPE_FILE), 10, "not JSON: bundle.dsse.json"),
    "flip statement": (flip(STATEMENT_FILE, 100), 12, NOT_SIGNED),
    "flip sums": (flip(SUMS_FILE, 5), 12, WRONG),
    "flip index": (flip("index.json", 100), 12, WRONG),
    "flip docker view": (flip("manifest.json", 20), 12, WRONG),
    "flip oci-layout": (flip("oci-layout", 3), 12, WRONG),
    "flip help text": (flip("VERIFY.txt", 30), 12, WRONG),
    "flip root": (flip("trust/1.root.json", 80), 12, WRONG),
    "flip config": (flip(CONFIG.path, 40), 12, WRONG),
    "flip image manifest": (flip(MANIFEST.path, 40), 12, WRONG),
    "flip loose signature": (
        lambda gap: gap.flip(f"sig/{gap.key.public_key.keyid[:16]}.sig"), 12, "not the signature in the envelope",
    ),
    "cut envelope": (lambda gap: gap.rewrite(ENVELOPE_FILE, lambda raw: raw[:-2]), 10, "not JSON"),
    "cut statement": (cut(STATEMENT_FILE), 12, NOT_SIGNED),
    "cut index": (cut("index.json"), 12, WRONG),
    "cut layer": (cut(LAYER.path), 12, "wrong size: "),
    "cut loose signature": (
        lambda gap: cut(f"sig/{gap.key.public_key.keyid[:16]}.sig")(gap), 12, "not the signature in the envelope",
    ),
    "empty envelope": (empty(ENVELOPE_FILE), 10, "not JSON"),
    "empty statement": (empty(STATEMENT_FILE), 12, NOT_SIGNED),
    "empty docker view": (empty("manifest.json"), 12, WRONG),
    "empty layer": (empty(LAYER.path), 12, "wrong size: "),
    "grow statement": (grow(STATEMENT_FILE), 12, NOT_SIGNED),
    "grow sums": (grow(SUMS_FILE), 12, WRONG),
    "grow image manifest": (grow(MANIFEST.path), 12, "too large: "),
    "grow layer": (grow(LAYER.path), 12, "wrong size: "),
    "swap configs": (swap(CONFIG.path, OTHER_CONFIG.path), 12, WRONG),
    "swap image manifests": (swap(MANIFEST.path, IMAGES[TWO].descriptor.digest.path), 12, WRONG),
    "no envelope": (remove(ENVELOPE_FILE), 19, "not a finished bundle"),
    "no statement": (remove(STATEMENT_FILE), 12, "missing file"),
    "no sums": (remove(SUMS_FILE), 12, "missing file"),
    "no index": (remove("index.json"), 12, "missing file"),
    "no docker view": (remove("manifest.json"), 12, "missing file"),
    "no oci-layout": (remove("oci-layout"), 12, "missing file"),
    "no help text": (remove("VERIFY.txt"), 12, "missing file"),
    "no root": (remove("trust/1.root.json"), 12, "missing file"),
    "no layer": (remove(LAYER.path), 12, "missing file"),
    "no image manifest": (remove(MANIFEST.path), 12, "missing file"),
    "no loose signature": (
        lambda gap: shutil.rmtree(gap.bundle / "sig"), 12, "missing file",
    ),
    "no blobs": (lambda gap: shutil.rmtree(gap.bundle / "blobs"), 12, "missing file"),
    "extra file": (write("README.md"), 12, UNLISTED),
    "extra blob": (write(f"blobs/sha256/{'0' * 64}"), 12, UNLISTED),
    "extra signature": (write(f"sig/{'0' * 16}.sig"), 12, UNLISTED),
    "extra root": (write("trust/9.root.json"), 12, UNLISTED),
    "left-over part": (write(f"{LAYER.path}.part"), 12, UNLISTED),
    "extra folder": (write("docs/x"), 12, FOLDER),
    "extra empty folder": (lambda gap: (gap.bundle / "docs").mkdir(), 12, FOLDER),
    "deep empty folder": (lambda gap: (gap.bundle / "blobs/sha256/x").mkdir(), 12, FOLDER),
    "folder for file": (instead("index.json", lambda path, _: path.mkdir()), 12, FOLDER),
    "folder for envelope": (instead(ENVELOPE_FILE, lambda path, _: path.mkdir()), 12, IRREGULAR),
    "file for folder": (instead("blobs", lambda path, _: path.write_bytes(b"")), 12, UNLISTED),
    "link for layer": (instead(LAYER.path, lambda path, moved: path.symlink_to(moved)), 12, IRREGULAR),
    "link for envelope": (instead(ENVELOPE_FILE, lambda path, moved: path.symlink_to(moved)), 12, IRREGULAR),
    "link for statement": (instead(STATEMENT_FILE, lambda path, moved: path.symlink_to(moved)), 12, IRREGULAR),
    "link for blobs": (instead("blobs", lambda path, moved: path.symlink_to(moved)), 12, IRREGULAR),
    "link for roots": (instead("trust", lambda path, moved: path.symlink_to(moved)), 12, IRREGULAR),
    "link to nowhere": (lambda gap: (gap.bundle / "x").symlink_to("/nowhere"), 12, IRREGULAR),
    "hard link": (instead(LAYER.path, lambda path, moved: path.hardlink_to(moved)), 12, IRREGULAR),
    "hard link for statement": (instead(STATEMENT_FILE, lambda path, moved: path.hardlink_to(moved)), 12, IRREGULAR),
    "pipe for layer": (instead(LAYER.path, lambda path, _: os.mkfifo(path)), 12, IRREGULAR),
    "pipe for envelope": (instead(ENVELOPE_FILE, lambda path, _: os.mkfifo(path)), 12, IRREGULAR),
    "socket for envelope": (instead(ENVELOPE_FILE, listen), 12, IRREGULAR),
    "socket for layer": (instead(LAYER.path, listen), 12, IRREGULAR),
    "device for statement": (instead(STATEMENT_FILE, device), 12, IRREGULAR),
    "device for layer": (instead(LAYER.path, device), 12, IRREGULAR),
    "case twin": (write("INDEX.JSON"), 12, UNLISTED),
    "trailing dot": (write("index.json."), 12, UNLISTED),
    "line feed in a name": (write("x\nerror: all is well"), 12, "x\\nerror: all is well"),
    "escape in a name": (write("\x1b[2Jgood"), 12, "\\x1b[2Jgood"),
    "right-to-left name": (write("\u202egnp.exe"), 12, "\\u202egnp.exe"),
    "name not in UTF-8": (write(b"\xff\xfe"), 12, "\\udcff\\udcfe"),
    "name in the root's folder": (write("trust/2.root.json"), 10, "not JSON"),
}  # fmt: skip


ENVELOPES: dict[str, Case] = {
    "no signature": (envelope(lambda value: value.update(signatures=[])), 13, "no signature"),
    "unknown key": (
        lambda gap: gap.seal(gap.envelope.payload, STRANGER), 13, "not signed by a key that has the role release in trust root 1",
    ),
    "another's key id": (
        envelope(lambda value: value["signatures"][0].update(keyid="ab" * 32)), 13, "not signed by a key",
    ),
    "no key id": (envelope(lambda value: value["signatures"][0].pop("keyid")), 10, "not in canonical form"),
    "path for key id": (envelope(lambda value: value["signatures"][0].update(keyid="../../x")), 13, "not signed by a key"),
    "signature of another statement": (
        lambda gap: envelope(lambda value: value["signatures"][0].update(sig=b64(gap.key.sign(b"else"))))(gap),
        13, "does not match the signed bytes (alice",
    ),
    "signature over the bare payload": (
        lambda gap: envelope(lambda value: value["signatures"][0].update(sig=b64(gap.key.sign(gap.envelope.payload))))(gap),
        13, "does not match the signed bytes",
    ),
    "other payload type": (
        lambda gap: gap.seal(gap.envelope.payload, payload_type="application/json"), 13, "unexpected payload type",
    ),
    "payload type of roots": (
        lambda gap: gap.seal(gap.root.envelope.payload, payload_type=gap.root.envelope.payload_type), 13, "unexpected payload type",
    ),
    "payload type changed after signing": (
        envelope(lambda value: value.update(payloadType="application/json")), 13, "does not match the signed bytes",
    ),
    "two envelopes": (lambda gap: gap.rewrite(ENVELOPE_FILE, lambda raw: raw + raw), 10, "not JSON"),
    "list of envelopes": (lambda gap: gap.rewrite(ENVELOPE_FILE, lambda raw: b"[" + raw + b"]"), 10, "not a JSON object"),
    "unknown field": (envelope(lambda value: value.update(x=1)), 10, "unknown field: bundle.dsse.json"),
    "two payloads": (
        lambda gap: gap.rewrite(ENVELOPE_FILE, lambda raw: b'{"payload":"",' + raw[1:]), 10, "duplicate key",
    ),
    "payload twice in two cases": (
        envelope(lambda value: value.update(Payload=value["payload"])), 10, "keys differ in case only",
    ),
    "not canonical base64": (
        envelope(lambda value: value.update(payload=value["payload"] + "\n")), 10, "base64",
    ),
    "wrong types": (envelope(lambda value: value.update(payload=1)), 10, "wrong type"),
    "too many signatures": (
        envelope(lambda value: value.update(signatures=[{"keyid": f"{i:064x}", "sig": b64(b"%d" % i)} for i in range(65)])),
        10, "too many signatures",
    ),
    "a million signatures": (
        envelope(lambda value: value.update(signatures=[{"sig": ""}] * 1_000_000)), 10, "too many values",
    ),
    "same signature twice": (
        envelope(lambda value: value.update(signatures=value["signatures"] * 2)), 10, "the same signature or key id twice",
    ),
    "huge envelope": (write(ENVELOPE_FILE, b" " * ((16 << 20) + 1)), 12, "too large"),
    "huge statement": (write(STATEMENT_FILE, b" " * ((12 << 20) + 1)), 12, "too large"),
    "depth bomb": (write(ENVELOPE_FILE, JSON_BOMB), 10, "nested too deeply"),
    "shallow depth bomb": (write(ENVELOPE_FILE, b'{"a":' * 40 + b"1" + b"}" * 40), 10, "nested too deeply"),
    "big integer": (write(ENVELOPE_FILE, b'{"a":' + b"9" * 5000 + b"}"), 10, "integer too large"),
    "real number": (write(ENVELOPE_FILE, b'{"a":1e3}'), 10, "not an integer"),
    "NaN": (write(ENVELOPE_FILE, b'{"a":NaN}'), 10, "not JSON"),
    "not UTF-8": (write(ENVELOPE_FILE, b'{"a":"\xff"}'), 10, "not UTF-8"),
    "unpaired surrogate": (write(ENVELOPE_FILE, b'{"a":"\\ud800"}'), 10, "unpaired surrogate"),
}  # fmt: skip


STATEMENTS: dict[str, Case] = {
    "no JSON": (payload(b"hello"), 10, "not JSON: statement.json"),
    "nothing in it": (payload(b"{}"), 10, "wrong type: statement.json: _type"),
    "spaces": (resign(b'"serial":1', b'"serial": 1'), 10, CANONICAL),
    "other order": (resign(b'"serial":1,\n"epoch":1', b'"epoch":1,\n"serial":1'), 10, CANONICAL),
    "duplicate key": (resign(b'"serial":1', b'"serial":1,\n"serial":2'), 10, "duplicate key: statement.json, got 'serial'"),
    "case twin": (resign(b'"serial":1', b'"serial":1,\n"Serial":2'), 10, "'serial' and 'Serial'"),
    "unknown field": (
        lambda gap: gap.seal(
            replace(gap.statement, tool_version="9.9").to_bytes().replace(b'"serial":1', b'"serial":1,\n"shards":2')
        ),
        10, "unknown field: statement.json: predicate, got 'shards'\nhint: the bundle was written by airgap 9.9",
    ),
    "next format": (resign(b"urn:airgap:bundle:v1", b"urn:airgap:bundle:v2"), 10, "want urn:airgap:bundle:v1"),
    "other statement type": (resign(b"Statement/v1", b"Statement/v2"), 10, "unexpected value: statement.json: _type"),
    "other tool": (resign(b'{"name":"airgap"', b'{"name":"aircap"'), 10, "unexpected value: statement.json: predicate: tool: name"),
    "serial 0": (restate(serial=0), 10, "the serial is below 1"),
    "negative serial": (resign(b'"serial":1', b'"serial":-1'), 10, "negative"),
    "serial as text": (resign(b'"serial":1', b'"serial":"1"'), 10, "wrong type"),
    "big serial": (resign(b'"serial":1', b'"serial":9007199254740992'), 10, "integer too large"),
    "real serial": (resign(b'"serial":1', b'"serial":1.0'), 10, "not an integer"),
    "path for stream": (restate(stream="../x"), 10, "not a stream name"),
    "no such day": (resign(b'"previous":null', b'"previous":{"serial":1,"statement_sha256":"x"}'), 10, "not a digest"),
    "bad time": (lambda gap: gap.seal(re.sub(rb'"expires":"....', b'"expires":"20x6', gap.envelope.payload)), 10, "not a time"),
    "depth bomb": (payload(JSON_BOMB), 10, "nested too deeply"),
    "file outside": (subject("index.json", "../../etc/passwd"), 10, "not a file of a bundle"),
    "absolute file": (subject("index.json", "/etc/passwd"), 10, "not a file of a bundle"),
    "file in other case": (subject("index.json", "Index.json"), 10, "not a file of a bundle"),
    "envelope listed": (subject("index.json", ENVELOPE_FILE), 10, "not a file of a bundle"),
    "file listed twice": (subject("index.json", "manifest.json"), 10, "the file is listed twice"),
    "upper-case sum": (
        lambda gap: gap.resign(
            gap.statement.subjects["index.json"].encode(), gap.statement.subjects["index.json"].upper().encode()
        ),
        10, "not a digest",
    ),
    "unlisted help text": (
        restate(subjects=lambda gap: {k: v for k, v in gap.statement.subjects.items() if k != "VERIFY.txt"}), 12, UNLISTED,
    ),
    "unlisted sums": (
        restate(subjects=lambda gap: {k: v for k, v in gap.statement.subjects.items() if k != SUMS_FILE}), 12, UNLISTED,
    ),
    "listed and not there": (
        restate(subjects=lambda gap: gap.statement.subjects | {"trust/9.root.json": "0" * 64}), 12, "missing file",
    ),
    "two images of one name": (restate(images=lambda gap: gap.statement.images[:1] * 2), 10, "two images have the same name"),
    "other kind": (resign(b'"kind":"image","digest":"' + str(MANIFEST).encode(), b'"kind":"virus","digest":"' + str(MANIFEST).encode()), 10, "unknown kind"),
    "claimed upstream signature": (
        lambda gap: gap.seal(gap.envelope.payload.replace(b'"upstream_signature":null', b'"upstream_signature":"yes"', 1)),
        10, "wrong type",
    ),
    "image as artifact": (first_image(kind="artifact"), 10, "platforms are not those of the image"),
    "other image digest": (first_image(digest=IMAGES[TWO].descriptor.digest), 10, "index.json and the statement differ"),
    "other image name": (first_image(name=ImageReference.parse("x/y:1")), 10, "name different images"),
    "image left out": (restate(images=lambda gap: gap.statement.images[1:]), 10, "name different images"),
    "wrong config digest": (first_platform(config_digest=OTHER_CONFIG), 10, "platforms are not those of the image"),
    "wrong platform": (first_platform(platform="linux/s390x"), 10, "platforms are not those of the image"),
    "wrong total": (restate(total_bytes=7), 12, "wrong total size"),
}  # fmt: skip


@pytest.fixture
def gap(sealed: Gap, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Gap:
    return at_home(sealed, tmp_path, monkeypatch)


TABLE = {
    f"{group}: {name}": case
    for group, cases in {
        "damage": DAMAGE, "envelope": ENVELOPES, "statement": STATEMENTS, "judged": JUDGED, "lie": LIES,
    }.items()
    for name, case in cases.items()
}  # fmt: skip


@pytest.mark.parametrize(("harm", "code", "error"), TABLE.values(), ids=TABLE)
def test_refused(gap: Gap, capsys: pytest.CaptureFixture[str], harm: Harm, code: int, error: str) -> None:
    found = harm(gap)
    check_refused(found if isinstance(found, Gap) else gap, capsys, code, error)


def test_the_bundle_without_damage_is_good(gap: Gap, capsys: pytest.CaptureFixture[str]) -> None:
    """The bundle that all the others are copies of is good, and so is one that was signed anew."""
    assert main(["verify", str(gap.bundle)]) == 0
    gap.forge({})
    assert main(["verify", str(gap.bundle)]) == 0
    assert main(["load", str(gap.bundle), "--to", f"oci:{gap.folder / 'target'}"]) == 0
    document(lambda _: None)(gap)
    assert main(["verify", str(gap.bundle)]) == 14
    assert "two different bundles" in capsys.readouterr().err


@pytest.mark.parametrize(
    "harmless",
    [
        document(lambda _: None),
        config(lambda _: None),
        index(descriptor(PLAIN.raw, OCI_MANIFEST), contents=(PLAIN.raw, PLAIN_CONFIG, PLAIN_LAYER)),
        layer(data=b64(PLAIN_LAYER)),
        forge("VERIFY.txt", b"read me"),
        lambda gap: gap.put_root(second_root(gap)),
        restate(destinations=(RECEIVER,)),
    ],
    ids=["image manifest", "config", "index", "embedded data", "help text", "second root", "destination"],
)
def test_the_ways_of_lying_can_tell_the_truth(gap: Gap, harmless: Harm) -> None:
    """Or else the cases above would be refused for other reasons than theirs."""
    harmless(gap)
    assert main(["verify", str(gap.bundle)]) == 0
