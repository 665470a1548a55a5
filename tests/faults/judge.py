"""What must hold after every fault, looked at without anything that the run has in memory.

Bundles are judged twice: by airgap's verification, and by JSON and SHA-256 alone.
"""

import base64
import hashlib
import json
import re
import tarfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from airgap.audit.chain import check_ledger, read_ledger
from airgap.audit.receipt import Receipt
from airgap.bundle.volumes import open_bundle
from airgap.carry.verify import Receiver, verify, verify_content
from airgap.errors import AirgapError
from airgap.oci.digest import Digest
from airgap.progress import Silent
from airgap.site import Site
from airgap.trust.envelope import Envelope
from tests.faults.world import World
from tests.support.registry import FakeRegistry

ENVELOPE = "bundle.dsse.json"
_SIGNATURE = re.compile(r"(sig/[0-9a-f]{16}\.sig|[^ ]+\.part): want None")
"""Written before the envelope that names it: readers refuse the bundle until the envelope is there."""
_VOLUME = re.compile(r"(.+)\.v[0-9]+")

Content = Callable[[str], bytes | None]
"""Content by digest at a target; None where there is none."""


def hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def tree(folder: Path) -> dict[str, str]:
    """Every name below a folder, with the SHA-256 of files."""
    return {
        path.relative_to(folder).as_posix(): hash_file(path) if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


# -- bundles


def bundle_faults(world: World, before: Mapping[str, str], place: Path | None = None) -> Iterator[str]:
    """No bundle that looks complete fails to verify. One that was there before, and is as it was, is not
    the run's.
    """
    groups: dict[str, list[Path]] = defaultdict(list)
    for path in (place or world.folder).rglob(ENVELOPE):
        folder = path.parent
        match = _VOLUME.fullmatch(folder.name)
        groups[str(folder.with_name(match[1]) if match else folder)].append(folder)
    for folders in groups.values():
        if all(_untouched(folder, world, before) for folder in folders):
            continue
        for folder in folders:
            yield from (f"{folder.name}: {text}" for text in _wrong_alone(folder, world))
        if _whole(folders):
            yield from (f"{folders[0].name}: {text}" for text in _wrong_together(sorted(folders), world))


def signing_faults(world: World) -> Iterator[str]:
    """No signature of a bundle is lost, and each that its envelope names is right, with its raw copy; the
    content is as it was sealed.
    """
    try:
        envelope = Envelope.parse((world.bundle / ENVELOPE).read_bytes(), ENVELOPE)
    except (AirgapError, OSError) as error:
        yield f"the envelope cannot be read: {error}"
        return
    keys = {key.keyid: key for key in Site(world.online).public_keys().values()}
    if Site(world.online).public_keys()["alice"].keyid not in {each.keyid for each in envelope.signatures}:
        yield "the first signature is lost"
    for each in envelope.signatures:
        name = f"sig/{each.keyid[:16]}.sig"
        if not keys[each.keyid].verify(envelope.message, each.sig):
            yield f"{each.keyid} did not sign what the envelope says"
        if (world.bundle / name).read_bytes() != each.sig:
            yield f"{name} is not the signature in the envelope"
    yield from (text for text in _wrong_alone(world.bundle, world) if not _SIGNATURE.match(text))


def tar_faults(world: World) -> Iterator[str]:
    """The same of bundles that are one tar: it has its name when it is whole."""
    for path in world.stick.glob("*.tar"):
        yield from (f"{path.name}: {text}" for text in _wrong_together([path], world))


def _untouched(folder: Path, world: World, before: Mapping[str, str]) -> bool:
    if not folder.is_relative_to(world.folder):
        return False
    name = folder.relative_to(world.folder).as_posix()
    prefix = f"{name}/"
    was = {each.removeprefix(prefix): value for each, value in before.items() if each.startswith(prefix)}
    return bool(was) and was == tree(folder)


def _whole(folders: list[Path]) -> bool:
    table = folders[0] / "volume.json"
    return not table.exists() or len(folders) == json.loads(table.read_bytes())["of"]


def _receiver(world: World) -> Receiver:
    site = Site(world.offline)
    return Receiver(site=site.name, root=site.root(), mark=site.received, now=datetime.now(UTC))


def _wrong_alone(folder: Path, world: World) -> Iterator[str]:
    """What one folder that has an envelope lacks or has wrong, by JSON and SHA-256 alone."""
    try:
        envelope = json.loads((folder / ENVELOPE).read_bytes())
        payload = base64.b64decode(envelope["payload"])
        if (folder / "statement.json").read_bytes() != payload:
            yield "statement.json is not what was signed"
        subjects = {each["name"]: each["digest"]["sha256"] for each in json.loads(payload)["subject"]}
        table = folder / "volume.json"
        if table.exists():
            subjects = _share(subjects, json.loads(table.read_bytes()))
    except (OSError, ValueError, KeyError) as error:
        yield f"cannot be read: {error!r}"
        return
    found = {name: value for name, value in tree(folder).items() if value != "folder"}
    signatures = {f"sig/{each['keyid'][:16]}.sig" for each in envelope["signatures"]}
    own = {ENVELOPE, "statement.json", "volume.json"} | signatures
    for name in sorted(signatures - found.keys()):
        yield f"lacks {name}"
    for name in sorted(subjects.keys() | found.keys()):
        if name not in own and subjects.get(name) != found.get(name):
            yield f"{name}: want {subjects.get(name)}, got {found.get(name)}"


def _share(subjects: Mapping[str, str], table: dict[str, Any]) -> dict[str, str]:
    """What a volume has of the files: all that is not cut, and its own parts."""
    found = dict(subjects)
    for blob in table["blobs"]:
        name = "blobs/" + blob["blob"].replace(":", "/")
        found.pop(name)
        for number, part in enumerate(blob["parts"]):
            if part["volume"] == table["volume"]:
                found[f"{name}.{number:03d}" if len(blob["parts"]) > 1 else name] = part["sha256"]
    return found


def _wrong_together(folders: list[Path], world: World) -> Iterator[str]:
    place = folders[0] if len(folders) == 1 else tuple(folders)
    try:
        with open_bundle(place) as files:
            bundle = verify(files, _receiver(world))
            yield from map(str, verify_content(bundle, Silent(), 1))
    except (AirgapError, OSError) as error:
        yield f"looks complete and fails verify: {error}"


# -- targets


def graph_faults(content: Content, digest: str, size: int | None = None) -> Iterator[str]:
    """What is missing or wrong under a descriptor: content must be there down to the last layer."""
    raw = content(digest)
    if raw is None:
        yield f"{digest} is missing"
        return
    if hashlib.sha256(raw).hexdigest() != digest.partition(":")[2] or size not in (None, len(raw)):
        yield f"{digest} has other bytes"
        return
    document: dict[str, Any] = {}
    if raw[:1] == b"{":
        document = json.loads(raw)
    if "schemaVersion" in document:
        below = [*document.get("manifests", ()), *document.get("layers", ())]
        below += [document["config"]] if "config" in document else []
        for each in below:
            yield from graph_faults(content, each["digest"], each["size"])


@dataclass
class Names:
    """What a target says: digests by name, and how to get content."""

    digests: dict[str, str]
    content: Content


def layout_names(folder: Path) -> Names:
    """Of an OCI layout."""
    index = json.loads((folder / "index.json").read_bytes())
    names = {
        each["annotations"]["org.opencontainers.image.ref.name"]: each["digest"]
        for each in index["manifests"]
    }

    def content(digest: str) -> bytes | None:
        path = folder / "blobs" / digest.replace(":", "/")
        return path.read_bytes() if path.is_file() else None

    return Names(names, content)


def archive_names(path: Path) -> Names:
    """Of one archive in an images folder."""
    with tarfile.open(path) as tar:
        files = {item.name: tar.extractfile(item).read() for item in tar if item.isfile()}  # type: ignore[union-attr]
    index = json.loads(files["index.json"])
    names = {
        each["annotations"]["org.opencontainers.image.ref.name"]: each["digest"]
        for each in index["manifests"]
    }
    return Names(names, lambda digest: files.get("blobs/" + digest.replace(":", "/")))


def registry_names(registry: FakeRegistry) -> list[Names]:
    """Of each repository of a registry."""
    found: dict[str, Names] = {}
    for (repository, tag), (_, raw) in registry.manifests.items():
        if ":" not in tag:
            names = found.setdefault(repository, Names({}, partial(_registry_content, registry, repository)))
            names.digests[f"registry.test/{repository}:{tag}"] = f"sha256:{hashlib.sha256(raw).hexdigest()}"
    return list(found.values())


def _registry_content(registry: FakeRegistry, repository: str, digest: str) -> bytes | None:
    if (repository, digest) in registry.manifests:
        return registry.manifests[repository, digest][1]
    return registry.blobs.get((repository, Digest.parse(digest)))


def target_names(world: World) -> list[Names]:
    """Of whatever the story's target is. What cannot be read raises `ValueError`, `OSError` or `KeyError`."""
    found = []
    if (world.target / "index.json").exists():
        found.append(layout_names(world.target))
    if world.registry is not None:
        found += registry_names(world.registry)
    archives = [*world.target.glob("*.tar"), *world.folder.glob("*.tar")]
    return found + [archive_names(path) for path in archives]


def name_faults(found: list[Names], old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    """No name points to content that was not verified; what was there stays, or means the new."""
    seen: dict[str, str] = {}
    for names in found:
        seen |= names.digests
        for name, digest in names.digests.items():
            if digest not in {old.get(name), new.get(name)}:
                yield f"{name} means {digest}, which nobody signed"
            yield from (f"{name}: {text}" for text in graph_faults(names.content, digest))
    for name, digest in old.items():
        if name not in seen or (name not in new and seen[name] != digest):
            yield f"the old name {name} is lost: {seen.get(name)}"


def target_faults(world: World, old: Mapping[str, str], new: Mapping[str, str]) -> Iterator[str]:
    try:
        found = target_names(world)
    except (OSError, ValueError, KeyError, tarfile.TarError) as error:
        yield f"the target cannot be read: {error!r}"
        return
    yield from name_faults(found, old, new)


# -- sites


def site_faults(home: Path, before: int, code: int, *, ledger_hit: bool) -> Iterator[str]:
    """The ledger's chain is whole, each attempt of a run that was not killed has its end with the run's
    exit code, and marks and receipts are whole.
    """
    path = home / "ledger.jsonl"
    if path.exists():
        try:
            state = check_ledger(path)
        except AirgapError as error:
            yield f"{home.name}: {error}"
            return
        records = [line.fields for line in read_ledger(path) if line.fields and line.number > before]
        if code >= 0 and not ledger_hit:
            for record in (record for record in state.open if record.seq > before):
                yield f"{home.name}: line {record.seq} began and has no end"
            ends = [record for record in records if record["phase"] == "end"]
            if ends and ends[-1]["exit_code"] != code:
                yield f"{home.name}: the ledger says exit code {ends[-1]['exit_code']}, the process {code}"
    site = Site(home)
    try:
        site.root()
        for name in home.glob("*/*.json"):
            if name.parent.name == "sent":
                site.sent(name.stem)
            elif name.parent.name == "received":
                site.received(name.stem)
        for name in (home / "receipts").glob("*.receipt.json"):
            envelope = Envelope.parse(name.read_bytes(), str(name))
            Receipt.parse(envelope.payload, str(name))
    except AirgapError as error:
        yield f"{home.name}: {error}"


def lines_of(home: Path) -> int:
    """Records in a site's ledger."""
    path = home / "ledger.jsonl"
    return sum(1 for _ in read_ledger(path)) if path.exists() else 0


def receipt_faults(world: World, new: Mapping[str, str], names: list[Names]) -> Iterator[str]:
    """A receipt and the account of holdings claim nothing that is not at the target."""
    there: dict[str, str] = {}
    for each in names:
        there |= each.digests
    for path in (world.offline / "receipts").glob("*.receipt.json"):
        try:
            receipt = Receipt.parse(Envelope.parse(path.read_bytes(), str(path)).payload, str(path))
        except AirgapError as error:
            yield f"{path.name} cannot be read: {error}"
            continue
        for image in receipt.images:
            if (
                image.verdict in ("loaded", "already there")
                and there.get(image.reference) != image.target_digest
            ):
                yield f"{path.name} says that {image.reference} is there"
    for path in (world.offline / "holdings").glob("*.json"):
        try:
            for image in json.loads(path.read_bytes())["images"]:
                if there.get(image["name"]) != image["root"]:
                    yield f"the holdings say that {image['name']} is there"
        except (ValueError, KeyError) as error:
            yield f"the holdings cannot be read: {error!r}"


def mark_faults(world: World, old: Mapping[str, str], names: list[Names]) -> Iterator[str]:
    """The high-water mark was stored before a name moved."""
    moved = [name for each in names for name, digest in each.digests.items() if old.get(name) != digest]
    if moved and Site(world.offline).received("edge") is None:
        yield f"{moved[0]} has moved, and no high-water mark is stored"


# -- the final state


_VARY = ("created", "not_before", "expires", "sender")
"""Fields of a statement that tell when it was made, and after which record."""


def final_state(world: World, place: Path | None = None) -> dict[str, str]:
    """Names and contents of everything, less what must differ between two runs: times, what follows from
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
        return json.dumps([payload, [each["keyid"] for each in envelope["signatures"]]]).encode()
    if path.suffix == ".sig":
        return b"signature"
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
