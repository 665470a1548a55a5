"""What must hold of bundles after every fault, looked at without anything that the run has in memory.

Bundles are judged twice: by airgap's verification, and by JSON and SHA-256 alone.
"""

import base64
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from airgap.bundle.volumes import open_bundle
from airgap.carry.receiver import Receiver
from airgap.carry.verify import verify, verify_content
from airgap.errors import AirgapError
from airgap.progress import Silent
from airgap.site import Site
from airgap.trust.envelope import Envelope
from tests.faults.world import World

ENVELOPE = "bundle.dsse.json"
_SIGNATURE = re.compile(r"(sig/[0-9a-f]{16}\.sig|[^ ]+\.part): want None")
"""Written before the envelope that names it: readers refuse the bundle until the envelope is there."""
_VOLUME = re.compile(r"(.+)\.v[0-9]+")


def hash_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hashes_below(folder: Path) -> dict[str, str]:
    """Every name below a folder, with the SHA-256 of files."""
    return {
        path.relative_to(folder).as_posix(): hash_file(path) if path.is_file() else "folder"
        for path in sorted(folder.rglob("*"))
    }


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
    return bool(was) and was == hashes_below(folder)


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
    found = {name: value for name, value in hashes_below(folder).items() if value != "folder"}
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
