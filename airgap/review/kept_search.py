"""Reads only those sealed bundles and receipts that a search can match.

Checking signatures takes most of the time that reading these files takes, so the bytes of a file are searched
first, as those of the ledger are (audit/search.py). What is found is then read and checked as always.
"""

import binascii
import hashlib
import os
import re
from collections import defaultdict
from pathlib import Path

from airgap.audit.search import matcher
from airgap.durable import exists
from airgap.errors import AirgapError
from airgap.limits import MAX_ENVELOPE_BYTES
from airgap.review.records import Kept
from airgap.sender_state import SENDERS
from airgap.site import Site

_START = b'{"payload":"'
"""Of an envelope in canonical form; others do not count."""
_SHA256 = re.compile(rb'"statement_sha256"\s*+:\s*+"([0-9a-f]{64})"')


def kept_about(site: Site, what: str) -> Kept:
    """Return the sealed bundles and receipts that have `what` in any case, and those that belong to them: the
    receipts of such bundles, and the bundles of such receipts. Others may be among them.
    """
    may_match = matcher(what, apart=True)
    if may_match is None or exists(site.home / SENDERS) or _may_be_signer(site, what):
        return Kept.of(site)
    envelopes: set[Path] = set()
    matching: set[bytes] = set()
    of_statement: dict[bytes, list[Path]] = defaultdict(list)
    for path in site.kept_envelopes():
        payload = _payload_of(path)
        sha256 = hashlib.sha256(payload).hexdigest().encode()
        of_statement[sha256].append(path)
        if not payload or may_match(payload):
            envelopes.add(path)
            matching.add(sha256)
    receipts: list[Path] = []
    for path in site.kept_receipts():
        payload = _payload_of(path)
        statements = _SHA256.findall(payload)
        if not payload or may_match(payload) or not matching.isdisjoint(statements):
            receipts.append(path)
            envelopes.update(path for sha256 in statements for path in of_statement[sha256])
    return Kept.of(site, envelopes=sorted(envelopes), receipts=receipts)


def _may_be_signer(site: Site, what: str) -> bool:
    """Return whether `what` may be in the name of a person who signs: statements do not have these names."""
    try:
        roots = site.root_versions().values()
    except AirgapError:
        return True
    owners = {key.owner for root in roots for key in root.keys.values()}
    return any(what.casefold() in owner.casefold() for owner in owners)


def _payload_of(path: Path) -> bytes:
    """Return the payload of an envelope, of which nothing is checked; empty if it cannot be read."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            raw = os.read(descriptor, min(os.fstat(descriptor).st_size, MAX_ENVELOPE_BYTES))
        finally:
            os.close(descriptor)
        end = raw.find(b'"', len(_START))
        return binascii.a2b_base64(raw[len(_START) : end]) if raw.startswith(_START) else b""
    except (OSError, binascii.Error):
        return b""
