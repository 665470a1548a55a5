"""A sending site of many years: a ledger of many records, envelopes of many bundles, receipts that came back."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from airgap.audit.receipt import Receipt
from airgap.audit.record import BEGIN, END, NO_PREVIOUS, format_instant
from airgap.bundle.statement import Statement
from airgap.endpoints.layout import Layout
from airgap.oci.strict_json import dump
from airgap.offline.load_bundle import load_bundle
from airgap.progress import Silent
from airgap.review.records import Kept
from airgap.site import Mark, MarkKind, Site
from airgap.trust.envelope import STATEMENT_TYPE, Envelope
from airgap.trust.keys import SigningKey
from airgap.trust.root import ReceivingSite, RootKey, SignedRoot
from tests.support.bundles import RECEIVER, STREAM, Gap, make_gap, sign_root

_START = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
_IMAGES = 3
"""The images that a record names."""


def make_site(folder: Path, *, records: int, receipts: int, bundles: int) -> Path:
    """Make the site, and return its home. The chain, the signatures and the marks are valid."""
    gap = make_gap(folder, options=f"destinations: [{RECEIVER}]\n")
    site = Site(folder / "online")
    _know_receiver(site, gap)
    load_bundle(gap.bundle, gap.site, Layout(folder / "out"), gap.now, jobs=1, progress=Silent())
    receipt = Kept.of(gap.site).receipts[0].receipt
    sealed = _seal(site, gap, bundles)
    _answer(site, gap.site.key, receipt, sealed, receipts)
    _write_ledger(site, sealed, records)
    return site.home


def _know_receiver(site: Site, gap: Gap) -> None:
    root, key = site.root().root, gap.site.key.public_key
    role = replace(root.roles["receipt"], keyids=root.roles["receipt"].keyids | {key.keyid})
    following = replace(
        root,
        version=root.version + 1,
        keys={**root.keys, key.keyid: RootKey(key, RECEIVER)},
        roles={**root.roles, "receipt": role},
        sites={RECEIVER: ReceivingSite(frozenset({key.keyid}))},
    )
    raw = sign_root(following, gap.key)
    site.install_root(SignedRoot.parse(raw, "root"))
    fingerprint = hashlib.sha256(raw).hexdigest()
    site.ledger().append("trust-change", "note", root_version=following.version, fingerprint=fingerprint)


def _seal(site: Site, gap: Gap, bundles: int) -> list[tuple[int, str]]:
    """Sign the statement of the bundle again with other serials. Return the serial and SHA-256 of each."""
    made = [(gap.statement.serial, hashlib.sha256(gap.statement.to_bytes()).hexdigest())]
    for serial in range(2, bundles + 1):
        statement: Statement = replace(gap.statement, serial=serial)
        envelope = Envelope.sign(STATEMENT_TYPE, statement.to_bytes(), [gap.key])
        path = site.kept_envelope(STREAM, serial, 1)
        path.write_bytes(envelope.to_bytes())
        path.chmod(0o600)
        made.append((serial, hashlib.sha256(envelope.payload).hexdigest()))
    serial, sha256 = made[-1]
    site.set_mark(MarkKind.SENT, STREAM, Mark(1, serial, sha256))
    return made


def _answer(
    site: Site, key: SigningKey, receipt: Receipt, sealed: list[tuple[int, str]], receipts: int
) -> None:
    folder = site.home / "receipts" / RECEIVER
    folder.mkdir(parents=True, mode=0o700)
    folder.parent.chmod(0o700)
    for number in range(receipts):
        serial, sha256 = sealed[number % len(sealed)]
        point = {**receipt.checkpoint, "size": receipt.checkpoint["size"] + number}
        other = replace(
            receipt, serial=serial, statement_sha256=sha256, checkpoint=point,
            time=receipt.time + timedelta(seconds=number),
        )  # fmt: skip
        raw = Envelope.sign(STATEMENT_TYPE, other.to_bytes(), [key]).to_bytes()
        name = f"{STREAM}-{serial:04d}-{hashlib.sha256(raw).hexdigest()[:16]}.receipt.json"
        (folder / name).write_bytes(raw)


def _write_ledger(site: Site, sealed: list[tuple[int, str]], records: int) -> None:
    """Append pairs of records to the ledger in one go; the last one seals the newest bundle."""
    *_, last = site.ledger_path.read_bytes().splitlines()
    count = len(site.ledger_path.read_bytes().splitlines())
    head = hashlib.sha256(last).hexdigest() if count else NO_PREVIOUS
    with site.ledger_path.open("ab") as stream:
        for seq, details in enumerate(_details(sealed, count + 1, records), count + 1):
            time = format_instant(_START + timedelta(seconds=seq))
            fields = {
                "seq": seq, "prev": head, "time": time, "utc_offset": "+02:00",
                "boot_id": "0b5f6f0e-4f3d-4c5e-9f43-2f2f8f0d6c1a", "host": "hq-build", "site": site.name,
                "tool": "airgap 1.0.0", "user": "alice", **details,
            }  # fmt: skip
            line = dump(fields)
            head = hashlib.sha256(line).hexdigest()
            stream.write(line + b"\n")


def _details(sealed: list[tuple[int, str]], first: int, records: int) -> Iterator[dict[str, object]]:
    for number in range(records // 2):
        serial, sha256 = sealed[number * len(sealed) // max(records // 2, 1)]
        begin = first + 2 * number
        event = ("verify", "send", "media-verify", "pack")[number % 4]
        yield {"event": event, "phase": BEGIN, "folder": f"/media/stick-{number % 50}/{STREAM}-{serial:04d}"}
        images = [
            {
                "reference": f"registry.test/team-{number % 97}/app-{image}:1.{number}",
                "digest": f"sha256:{hashlib.sha256(b'%d %d' % (number, image)).hexdigest()}",
            }
            for image in range(_IMAGES)
        ]
        bundle = {"stream": STREAM, "serial": serial, "epoch": 1, "statement_sha256": sha256}
        end = {"event": event, "phase": END, "begin": begin, "result": "ok", "exit_code": 0}
        done = {"sealed": bundle} if event == "pack" else {}
        yield {**end, "bundle": bundle, "images": images, **done}
    serial, sha256 = sealed[-1]
    yield {
        "event": "pack", "phase": "note",
        "sealed": {"stream": STREAM, "serial": serial, "epoch": 1, "statement_sha256": sha256},
    }  # fmt: skip
