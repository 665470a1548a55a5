import shutil
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from airgap.audit.chain import check_ledger
from airgap.audit.receipt import Receipt
from airgap.endpoints.layout import Layout
from airgap.offline.load_bundle import load_bundle
from airgap.progress import Silent
from airgap.review.records import Kept
from airgap.review.report import Report
from airgap.site import Site
from airgap.trust.envelope import STATEMENT_TYPE, Envelope
from airgap.trust.keys import SigningKey
from airgap.trust.root import ReceivingSite, RootKey, SignedRoot, TrustRoot
from tests.support.bundles import RECEIVER, Gap, make_gap, sign_root
from tests.support.reports import officer_report


def knows(root: TrustRoot, *sites: tuple[str, SigningKey]) -> TrustRoot:
    """The next root, with the keys that sign these sites' receipts."""
    keys = {key.public_key.keyid: RootKey(key.public_key, name) for name, key in sites}
    receipt = replace(root.roles["receipt"], keyids=root.roles["receipt"].keyids | keys.keys())
    return replace(
        root,
        version=root.version + 1,
        keys={**root.keys, **keys},
        roles={**root.roles, "receipt": receipt},
        sites={
            **root.sites,
            **{name: ReceivingSite(frozenset({key.public_key.keyid})) for name, key in sites},
        },
    )


@dataclass(frozen=True)
class Answered:
    """A bundle that was loaded, and whose receipt is on its way back."""

    gap: Gap
    receipt: Path

    @property
    def sender(self) -> Site:
        return Site(self.gap.folder / "online")

    @property
    def parsed(self) -> Receipt:
        return Receipt.parse(Envelope.parse(self.receipt.read_bytes(), "x").payload)

    def signed(self, receipt: Receipt, *keys: SigningKey) -> bytes:
        """What the receiving site would say if it lied."""
        signers = keys or (self.gap.site.key,)
        return Envelope.sign(STATEMENT_TYPE, receipt.to_bytes(), signers).to_bytes()


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> tuple[Gap, Path]:
    gap = make_gap(tmp_path_factory.mktemp("answered"), options=f"destinations: [{RECEIVER}]\n")
    sender = Site(gap.folder / "online")
    raw = sign_root(knows(sender.root().root, (RECEIVER, gap.site.key)), gap.key)
    sender.install_root(SignedRoot.parse(raw, "root"))
    report = load_bundle(
        gap.bundle, gap.site, Layout(gap.folder / "out"), gap.now,
        jobs=1, progress=Silent(),
    )  # fmt: skip
    return gap, report.receipt.relative_to(gap.folder)


@pytest.fixture(scope="session")
def officers(template: tuple[Gap, Path]) -> Report:
    """What an officer of the sending side gets."""
    gap, _ = template
    sender = Kept.of(Site(gap.folder / "online"))
    return officer_report(
        sender.sealed[0],
        Kept.of(gap.site).receipts[0],
        sender.roots,
        datetime(2026, 11, 30, 9, 14, tzinfo=UTC),
        check_ledger(Site(gap.folder / "online").ledger_path),
    )


@pytest.fixture
def answered(template: tuple[Gap, Path], tmp_path: Path) -> Answered:
    gap, receipt = template
    copy = gap.copy(tmp_path / "gap")
    carried = tmp_path / "back.receipt.json"
    shutil.copyfile(copy.folder / receipt, carried)
    return Answered(copy, carried)
