"""Every bit of a signed bundle, receipt, trust root and ledger turned in its turn, and every truncation.

    python -m tests.flips        all of them (244,000 trials, four minutes)

prints how many trials there were, and each one that was accepted. Whole verifications run in process.
"""

import shutil
import sys
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, replace
from io import BytesIO
from pathlib import Path

from airgap.audit.chain import check_ledger, checkpoint
from airgap.bundle.files import FoundFile
from airgap.bundle.volume_table import VOLUME_FILE
from airgap.bundle.volumes import open_bundle
from airgap.carry.verify import verify, verify_content
from airgap.errors import AirgapError, LedgerError, MissingContentError, SizeMismatchError
from airgap.progress import Silent
from airgap.prove_receipt import prove_receipt
from airgap.trust.envelope import ROOT_TYPE, STATEMENT_TYPE, Envelope
from airgap.trust.root import SignedRoot
from tests.test_vectors import place_of, receiver
from tests.unit.audit.ledgers import filled
from tests.unit.audit.test_receipt import RECEIPT
from tests.vectors import make

LAYER = 10_240
"""Bytes of each layer of the vector: a layer is a stream under its digest, as the documents are."""


@dataclass(frozen=True)
class Subject:
    """A document, and whether what it is changed to is accepted by the function that commands call."""

    name: str
    good: bytes
    accepts: Callable[[bytes], bool]

    def trials(self, step: int = 1) -> Iterator[tuple[str, bytes]]:
        """What is changed, and the changed bytes; every `step`th bit and length, always a last one."""
        for bit in range(0, 8 * len(self.good), step):
            at = bit // 8
            yield f"bit {bit}", self.good[:at] + bytes([self.good[at] ^ 1 << bit % 8]) + self.good[at + 1 :]
        for length in {*range(0, len(self.good), step), len(self.good) - 1}:
            yield f"cut to {length}", self.good[:length]


@dataclass(frozen=True)
class Memory:
    """The files of a bundle in memory."""

    contents: Mapping[str, bytes]
    path = Path("bundle")

    def where(self, name: str) -> str:
        return name

    def open(self, name: str) -> BytesIO:
        if name not in self.contents:
            raise MissingContentError("missing file", subject=name)
        return BytesIO(self.contents[name])

    def read(self, name: str, limit: int) -> bytes:
        raw = self.open(name).read()
        if len(raw) > limit:
            raise SizeMismatchError("too large", subject=name)
        return raw

    def has(self, name: str) -> bool:
        return name in self.contents

    def files(self, folders: Collection[str]) -> Iterator[FoundFile]:
        return (FoundFile(name, len(raw)) for name, raw in self.contents.items())


def subjects(folder: Path) -> list[Subject]:
    """All documents; `folder` is for those that are read from a disk."""
    return [*_bundle(), _root(), _receipt(), _volume(folder / "volumes"), _ledger(folder / "ledger")]


def accepted(found: Subject, step: int = 1) -> tuple[int, list[str]]:
    """How many trials there were, and which of them were accepted."""
    assert found.accepts(found.good)
    count, wrong = 0, []
    for what, raw in found.trials(step):
        count += 1
        if found.accepts(raw):
            wrong.append(f"{found.name}: {what}")
    return count, wrong


def holds(check: Callable[[], object]) -> bool:
    """Whether `check` raises none of our errors; foreign ones pass."""
    try:
        check()
    except AirgapError:
        return False
    return True


def _bundle() -> Iterator[Subject]:
    top = make.HERE / make.BASIC
    files = {p.relative_to(top).as_posix(): p.read_bytes() for p in top.rglob("*") if p.is_file()}
    who = receiver(make.BASIC)

    def judge(name: str) -> Callable[[bytes], bool]:
        def accepts(raw: bytes) -> bool:
            def check() -> None:
                bundle = verify(Memory(files | {name: raw}), who)
                for error in verify_content(bundle, Silent(), 1):
                    raise error

            return holds(check)

        return accepts

    return (Subject(name, files[name], judge(name)) for name in sorted(files) if len(files[name]) != LAYER)


def _root() -> Subject:
    """The second root, signed by the keys of the first."""
    first = SignedRoot.parse(make.root(), "root")
    second = replace(first.root, version=2)
    raw = Envelope.sign(ROOT_TYPE, second.to_bytes(), [make.key("alice"), make.key("bob")]).to_bytes()
    return Subject("trust/2.root.json", raw, lambda changed: holds(lambda: first.successor(changed, "root")))


def _receipt() -> Subject:
    root = SignedRoot.parse(make.root(), "root").root
    receipt = replace(RECEIPT, site="hq", checkpoint={**RECEIPT.checkpoint, "origin": "hq"})
    raw = Envelope.sign(STATEMENT_TYPE, receipt.to_bytes(), [make.key("site")]).to_bytes()

    def check(changed: bytes) -> object:
        return prove_receipt(Envelope.parse(changed, "receipt"), root, make.CREATED, "receipt")

    return Subject("receipt", raw, lambda changed: holds(lambda: check(changed)))


def _volume(folder: Path) -> Subject:
    """The table of one of three volumes."""
    shutil.copytree(make.HERE / make.VOLUMES, folder)
    places, who = place_of(folder), receiver(make.VOLUMES)
    table = places[1] / VOLUME_FILE

    def check() -> None:
        with open_bundle(places) as files:
            for error in verify_content(verify(files, who), Silent(), 1):
                raise error

    def accepts(raw: bytes) -> bool:
        table.write_bytes(raw)
        return holds(check)

    return Subject(VOLUME_FILE, table.read_bytes(), accepts)


def _ledger(folder: Path) -> Subject:
    """Three lines, and the checkpoint that the other side keeps: the last line has no other guard."""
    folder.mkdir()
    path = filled(folder, 3)
    kept = checkpoint(check_ledger(path))

    def check() -> None:
        state = check_ledger(path)
        if state.torn or checkpoint(state) != kept:
            raise LedgerError("not the ledger of the checkpoint")

    def accepts(raw: bytes) -> bool:
        path.write_bytes(raw)
        return holds(check)

    return Subject("ledger", path.read_bytes(), accepts)


def main() -> int:
    """The exit code is 1 when anything was accepted."""
    total, wrong = 0, list[str]()
    with tempfile.TemporaryDirectory() as folder:
        for subject in subjects(Path(folder)):
            count, found = accepted(subject)
            total, wrong = total + count, wrong + found
            print(f"{subject.name}: {count:,} trials, {len(found)} accepted", flush=True)
    print(*wrong, f"{total:,} trials, {len(wrong)} accepted", sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
