"""Manifests, plans and sites for the tests of the sending side."""

from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from airgap.admin.init_site import set_up
from airgap.endpoints.ports import Source
from airgap.manifest import Lock, TransferManifest
from airgap.online.lock import resolve
from airgap.online.pack import pack
from airgap.online.plan import TransferPlan, make_plan
from airgap.online.terms import PackedBundle, PackOrder
from airgap.site import Site
from tests.support.memory_sources import Opener

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
DAY = timedelta(days=1)


@dataclass
class Notes:
    """A listener that writes down what it hears."""

    notes: list[str] = field(default_factory=list)
    phases: dict[str, int] = field(default_factory=dict)
    """Bytes reported by title."""

    def note(self, text: str) -> None:
        self.notes.append(text)

    @contextmanager
    def _phase(self, title: str):
        self.phases.setdefault(title, 0)

        def advance(count: int) -> None:
            self.phases[title] += count

        yield advance

    def phase(self, title: str, total: int) -> AbstractContextManager:
        return self._phase(title)


def manifest_of(*entries: str, head: str = "", folder: Path = Path("/m")) -> TransferManifest:
    text = "version: 1\nname: stack\n" + head + "images:\n" + "".join(f"  - {entry}\n" for entry in entries)
    return TransferManifest.parse(text.encode(), folder / "stack.yaml")


def lock_of(manifest: TransferManifest, **sources: Source) -> Lock:
    return resolve(manifest, Opener(sources))


def plan_of(manifest: TransferManifest, **sources: Source) -> TransferPlan:
    return make_plan(lock_of(manifest, **sources), Opener(sources))


@dataclass
class Bench:
    """A sending site and a medium."""

    folder: Path
    now: datetime = NOW
    progress: Notes = field(default_factory=Notes)

    def __post_init__(self) -> None:
        if not (self.folder / "home").exists():
            set_up(
                self.folder / "home", "alice", "hq",
                algorithm="ecdsa-p256", passphrase=lambda: b"secret", now=NOW,
            )  # fmt: skip
        self.site = Site(self.folder / "home")
        self.key = self.site.signing_key(None, lambda: b"secret")

    @property
    def stick(self) -> Path:
        return self.folder / "stick"

    def order(self, **fields: object) -> PackOrder:
        return PackOrder(**({"to": self.stick, "signers": (self.key,), "now": self.now, "jobs": 2} | fields))

    def pack(self, manifest: TransferManifest, plan: TransferPlan, **fields: object) -> PackedBundle:
        return pack(manifest, plan, self.site, self.order(**fields), self.progress)


def with_free_space(patch: pytest.MonkeyPatch, free: Callable[[], int]) -> None:
    """Let every disk have as many bytes free as `free` says, and as much again in all."""

    def statvfs(_: object) -> SimpleNamespace:
        return SimpleNamespace(f_frsize=1, f_blocks=2 * free(), f_bavail=free(), f_flag=0)

    patch.setattr("os.statvfs", statvfs)
