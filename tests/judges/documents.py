"""Image documents that are changed at random, and what airgap reads of each, for a judge to compare.

    python -m tests.judges.documents 1000000 7      a million documents from seed 7

prints how many documents airgap accepts, and each one that Go's encoding/json reads otherwise.
"""

import base64
import json
import random
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from airgap.errors import FormatError
from airgap.oci.documents import Descriptor, ImageConfig, ImageIndex, parse_document
from airgap.oci.platform import UNKNOWN, Platform
from tests.support.images import make_index, simple_image
from tests.support.parts import require_tool

SOURCE = Path(__file__).with_name("reader.go")
BATCH = 20_000
_FOLDS = {"s": "\u017f", "k": "\u212a"}
_NUMBERS = (
    "-0",
    "0",
    "1.0",
    "1e2",
    "1e999",
    "-1",
    "9007199254740992",
    "9007199254740993",
    "2.0",
    "00",
    "1E0",
    "2",
)
_KEYS = (
    "mediaType", "config", "layers", "manifests", "subject", "annotations", "artifactType", "digest", "size", "urls",
    "data", "platform", "architecture", "os", "variant", "os.version", "rootfs", "diff_ids", "type", "fsLayers",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Document:
    """A changed document and its kind: `document`, `config`."""

    kind: str
    raw: bytes

    @property
    def line(self) -> bytes:
        """As the judge takes it."""
        return f"{self.kind} ".encode() + base64.b64encode(self.raw) + b"\n"


def build(folder: Path, source: Path = SOURCE) -> Path:
    """Compile a judge into `folder`."""
    program = folder / source.stem
    cache = {
        "GOCACHE": str(folder / "cache"),
        "GO111MODULE": "off",
        "HOME": str(folder),
        "PATH": "/usr/bin:/bin",
    }
    subprocess.run([require_tool("go"), "build", "-o", program, source], env=cache, check=True, timeout=600)
    return program


def documents(count: int, seed: int) -> Iterator[Document]:
    """`count` changed documents; the same for the same seed."""
    rng = random.Random(seed)
    seeds = _seeds()
    for _ in range(count):
        kind, text = rng.choice(seeds)
        for _ in range(rng.choice((1, 1, 1, 2, 3))):
            text = rng.choice(_CHANGES)(text, rng)
        yield Document(kind, text.encode("utf-8", "surrogatepass"))


def differences(program: Path, found: Iterable[Document]) -> tuple[int, list[tuple[Document, Any, Any]]]:
    """How many documents airgap accepts, and those that the judge reads otherwise: ours and its reading."""
    accepted = [(document, ours) for document in found if (ours := reading(document)) is not None]
    lines = b"".join(document.line for document, _ in accepted)
    answer = subprocess.run([program], input=lines, capture_output=True, check=True, timeout=3600)
    readings = [json.loads(line) for line in answer.stdout.splitlines()]
    pairs = zip(accepted, readings, strict=True)
    return len(accepted), [
        (document, ours, theirs)
        for (document, ours), theirs in pairs
        if theirs != "refused" and ours != _normal(theirs, document.kind)
    ]


def reading(document: Document) -> Any:
    """What airgap reads, in the judge's form; None for what it refuses."""
    try:
        if document.kind == "config":
            config = ImageConfig.parse(document.raw)
            return [_platform(config.platform), [str(digest) for digest in config.diff_ids]]
        parsed = parse_document(document.raw, None, "document")
    except FormatError:
        return None
    if isinstance(parsed, ImageIndex):
        return ["index", [_descriptor(item) for item in parsed.manifests], parsed.annotations]
    subject = _descriptor(parsed.subject) if parsed.subject else None
    layers = [_descriptor(item) for item in parsed.layers]
    return [
        "manifest",
        _descriptor(parsed.config),
        layers,
        subject,
        parsed.artifact_type or "",
        parsed.annotations,
    ]


def _platform(platform: Platform | None) -> list[str] | None:
    return None if platform is None else [platform.os, platform.architecture, platform.variant]


def _descriptor(found: Descriptor) -> list[Any]:
    platform = _platform(found.platform)
    return [
        found.media_type,
        str(found.digest),
        found.size,
        platform,
        found.annotations,
        found.artifact_type or "",
        list(found.urls),
    ]


def _normal(value: dict[str, Any], kind: str) -> Any:
    """The judge's reading, with platforms in our spelling."""
    if kind == "config":
        platform = _named(value) or UNKNOWN
        return [_platform(platform), value["rootfs"]["diff_ids"] or []]
    if value["manifests"] is not None:
        return [
            "index",
            [_normal_descriptor(item) for item in value["manifests"]],
            value.get("annotations", {}),
        ]
    subject = value.get("subject")
    return [
        "manifest",
        _normal_descriptor(value["config"]) if "config" in value else None,
        [_normal_descriptor(item) for item in value["layers"] or []],
        None if subject is None else _normal_descriptor(subject),
        value.get("artifactType", ""),
        value.get("annotations", {}),
    ]


def _named(value: dict[str, Any]) -> Platform | None:
    """None where it is not said; then both names are empty to us."""
    os, architecture = value["os"], value["architecture"]
    return Platform.of(os, architecture, value.get("variant", "")) if os and architecture else None


def _normal_descriptor(value: dict[str, Any]) -> list[Any]:
    platform = value.get("platform")
    found = None if platform is None else _named(platform)
    return [
        value["mediaType"],
        value["digest"],
        value["size"],
        _platform(found),
        value.get("annotations", {}),
        value.get("artifactType", ""),
        value.get("urls", []),
    ]


def _seeds() -> list[tuple[str, str]]:
    image = simple_image("api")
    index = make_index([image, simple_image("arm", platform="linux/arm/v6")])
    manifest = json.loads(image.raw)
    manifest |= {"subject": manifest["config"], "annotations": {"a": "b"}, "artifactType": "x/y"}
    manifest["layers"][0] |= {"annotations": {"k": "v"}, "platform": {"os": "linux", "architecture": "amd64"}}
    assert image.config is not None
    return [
        ("document", json.dumps(manifest)),
        ("document", image.raw.decode()),
        ("document", index.raw.decode()),
        ("config", image.contents[image.config].decode()),
    ]


def _key_places(text: str) -> list[tuple[int, int]]:
    """Start and end of the text between the quotes of each key."""
    found, at = [], 0
    while (start := text.find('"', at)) >= 0:
        end = text.find('"', start + 1)
        if end < 0:
            break
        if text[end + 1 : end + 2] == ":":
            found.append((start + 1, end))
        at = end + 1
    return found


def _respell(text: str, rng: random.Random) -> str:
    if not (places := _key_places(text)):
        return text
    start, end = rng.choice(places)
    return text[:start] + _other_case(text[start:end], rng) + text[end:]


def _other_case(key: str, rng: random.Random) -> str:
    if not key:
        return key
    way, at = rng.randrange(6), rng.randrange(len(key))
    if way == 0:
        return key.upper()
    if way == 1:
        return key[:1].swapcase() + key[1:]
    if way == 2:
        return key[:at] + key[at].swapcase() + key[at + 1 :]
    if way == 3:
        return key[:at] + _FOLDS.get(key[at].lower(), key[at].swapcase()) + key[at + 1 :]
    if way == 4:
        return key[:at] + f"\\u{ord(key[at].swapcase()):04x}" + key[at + 1 :]
    return key + rng.choice("sS _\u017f\u212a")


def _add_key(text: str, rng: random.Random) -> str:
    places = [at for at, character in enumerate(text) if character == "{"]
    if not places:
        return text
    at = rng.choice(places) + 1
    key = _other_case(rng.choice(_KEYS), rng) if rng.random() < 0.7 else rng.choice(_KEYS)
    values = (
        '"x"',
        "null",
        "[]",
        "{}",
        '["http://h/x"]',
        '{"os":"windows","architecture":"arm64"}',
        "7",
        *_NUMBERS,
    )
    return f'{text[:at]}"{key}":{rng.choice(values)}{"," if text[at : at + 1] != "}" else ""}{text[at:]}'


def _change_number(text: str, rng: random.Random) -> str:
    places = [at for at in range(1, len(text)) if text[at].isdigit() and text[at - 1] in ": "]
    if not places:
        return text
    at = end = rng.choice(places)
    while end < len(text) and text[end] in "0123456789.eE+-":
        end += 1
    return text[:at] + rng.choice(_NUMBERS) + text[end:]


def _change_character(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text)) if text else 0
    return (
        text[:at]
        + rng.choice('"{}[]:,\\ \u0000\u017f\u212aaA0-.\ud800\ufeff')
        + text[at + rng.randrange(2) :]
    )


_CHANGES = (_respell, _respell, _add_key, _add_key, _change_number, _change_character)


def main(count: int, seed: int) -> int:
    """Compare in batches; the exit code is 1 when a reading differs."""
    accepted, found = 0, []
    with tempfile.TemporaryDirectory() as folder:
        program = build(Path(folder))
        for number, start in enumerate(range(0, count, BATCH)):
            batch = documents(min(BATCH, count - start), seed * 1_000_003 + number)
            taken, different = differences(program, batch)
            accepted, found = accepted + taken, found + different
    for document, ours, theirs in found[:20]:
        print(document.raw, ours, theirs, sep="\n  ")
    print(f"{count:,} documents from seed {seed}: {accepted:,} accepted, {len(found):,} read otherwise by Go")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), int(sys.argv[2])))
