"""What two runs of the same command must have in common in the end."""

import base64
import hashlib
import json
import tarfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from airgap.trust.recall import KEY as RECALLED
from tests.faults.judge_bundles import ENVELOPE
from tests.faults.judge_targets import registry_names
from tests.faults.world import World

_VARY = ("created", "not_before", "expires", "sender")
"""Fields of a statement that tell when it was made, and after which record."""


def final_state(world: World, place: Path | None = None) -> dict[str, str]:
    """TargetNames and contents of everything, less what must differ between two runs: times, what follows from
    them (the statement's digest, signatures), and the ledger.
    """
    found: dict[str, str] = {}
    receipts: dict[str, list[Path]] = defaultdict(list)
    top = place or world.folder
    for path in sorted(top.rglob("*")):
        name = path.relative_to(top).as_posix()
        if path.is_dir():
            found[name] = "folder"
        elif path.parent.name == "receipts" and path.name.endswith(".receipt.json"):
            receipts[str(path.parent.relative_to(top))].append(path)
        else:
            found[name] = hashlib.sha256(_comparable(path)).hexdigest()
    for names in registry_names(world.registry) if world.registry and not place else ():
        found |= {f"registry/{name}": digest for name, digest in names.digests.items()}
    for folder, paths in receipts.items():
        newest = max(paths, key=lambda path: int(path.name.removesuffix(".receipt.json").rpartition("-")[2]))
        found[f"{folder}/newest"] = hashlib.sha256(_comparable_receipt(newest)).hexdigest()
    return found


def _comparable(path: Path, raw: bytes | None = None) -> bytes:
    raw = path.read_bytes() if raw is None else raw
    if path.suffix == ".tar" and path.parent.name == "stick":
        with tarfile.open(path) as tar:
            members = {item.name: tar.extractfile(item).read() for item in tar}  # type: ignore[union-attr]
        parts = {name: _comparable(path / name, raw).hex() for name, raw in members.items()}
        return json.dumps(parts).encode()
    if path.name == "ledger.jsonl":
        return b"ledger"
    if path.name == ENVELOPE or path.name.endswith(".dsse.json"):
        envelope = json.loads(raw)
        signers = [each["keyid"] for each in envelope["signatures"]]
        return json.dumps([_statement(base64.b64decode(envelope["payload"])), signers]).encode()
    if path.name.endswith((".root.json", ".proposal.json")):
        envelope = json.loads(raw)
        payload = {**json.loads(base64.b64decode(envelope["payload"])), "expires": ""}
        for recall in payload.get(RECALLED, ()):
            recall["time"] = recall["statement_sha256"] = ""
        return json.dumps([payload, [each["keyid"] for each in envelope["signatures"]]]).encode()
    if path.suffix in (".sig", ".age"):
        return path.suffix.encode()  # random in part
    if path.name == "statement.json":
        return json.dumps(_statement(raw)).encode()
    if path.name == "volume.json" or path.parent.name == "sent":
        return json.dumps({**json.loads(raw or b"{}"), "statement_sha256": ""}).encode()
    if path.name == "index.json":
        # the order of the entries says nothing
        return json.dumps(sorted(map(json.dumps, json.loads(raw)["manifests"]))).encode()
    if path.parent.name == "holdings":
        images = json.loads(raw)["images"]
        return json.dumps(sorted(images, key=json.dumps)).encode()
    return raw


def _statement(raw: bytes) -> dict[str, Any]:
    statement = json.loads(raw)
    for name in _VARY:
        statement["predicate"].pop(name)
    return statement


def _comparable_receipt(path: Path) -> bytes:
    """Whether an image was loaded now or before is no difference in the end."""
    receipt = json.loads(base64.b64decode(json.loads(path.read_bytes())["payload"]))
    predicate = receipt["predicate"]
    images = [
        [each["reference"], each["digest"], each["target_digest"], each["error"]]
        for each in predicate["images"]
    ]
    return json.dumps([receipt["subject"], predicate["result"], images, predicate["holds"]]).encode()
