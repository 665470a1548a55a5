"""A report as an officer gets it: bundles in every state, two sticks, refusals, and what people wrote."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from airgap.audit.chain import LedgerState
from airgap.audit.report import LedgerEntry
from airgap.oci.digest import Digest
from airgap.review.records import Kept, KeptReceipt, Sealed
from airgap.review.report import Report
from airgap.review.transfers import review
from airgap.trust.document import TrustRoot

DAY = timedelta(days=1)
SITES = ("plant-1", "plant-2", "plant-3", "plant-4", "plant-5")
STICKS: tuple[dict[str, Any], ...] = (
    {"vendor": "SanDisk", "product": "Ultra Fit", "label": "TRANSFER-A", "serial": "4C530001230817", "size": 62_000_000_000,
     "removable": True, "mount_point": "/media/a", "read": True},
    {"vendor": "Kingston", "product": "IronKey", "label": "TRANSFER-B", "serial": "0060E049DF5C", "size": 32_000_000_000,
     "removable": True, "mount_point": "/media/b", "read": True},
)  # fmt: skip
STATED = {
    "ticket": "CHG-20417", "approver": "Dr. Anne Weiß, OT security", "classification": "internal",
    "reason": "Monthly update of the line controllers",
}  # fmt: skip


def sealed_as(template: Sealed, stream: str, serial: int, **changes: Any) -> Sealed:
    """The template as another bundle; its SHA-256 is of its title."""
    statement = replace(template.statement, stream=stream, serial=serial, **changes)
    return replace(template, statement=statement, statement_sha256=Digest.of(statement.title.encode()).hex)


def answer_of(
    template: KeptReceipt, sealed: Sealed, site: str, after: timedelta = DAY, **changes: Any
) -> KeptReceipt:
    """The template as the answer of a site to a bundle, a time after it was sealed."""
    statement = sealed.statement
    fields: dict[str, Any] = {
        "site": site, "bundle_stream": statement.stream, "serial": statement.serial, "epoch": statement.epoch,
        "statement_sha256": sealed.statement_sha256, "time": statement.created + after,
        "target": "docker:unix:///run/docker.sock", "operator": f"operator-{site[-1]}",
        "checkpoint": {"origin": site, "size": 10 * statement.serial, "root": sealed.statement_sha256},
    }  # fmt: skip
    receipt = replace(template.receipt, **(fields | changes))
    return KeptReceipt(receipt, template.path, Digest.of(f"{site} {statement.title}".encode()).hex)


def entry_about(sealed: Sealed, seq: int, event: str, after: timedelta, **details: Any) -> LedgerEntry:
    """An entry of the ledger about a bundle."""
    statement = sealed.statement
    bundle = {
        "stream": statement.stream, "serial": statement.serial, "epoch": statement.epoch,
        "statement_sha256": sealed.statement_sha256,
    }  # fmt: skip
    result, code = details.pop("result", "ok"), details.pop("exit_code", 0)
    user = details.pop("user", "bob")
    return LedgerEntry(
        seq=seq, time=statement.created + after, event=event, result=result, exit_code=code, user=user,
        duration=timedelta(minutes=3), details={"bundle": bundle} | details, site="hq",
        host="build-1.example.com",
    )  # fmt: skip


def make_entries(sealed: Sealed, seq: int) -> list[LedgerEntry]:
    """What happens to a bundle at the sending side."""
    folder = f"/srv/bundles/{sealed.statement.title}"
    return [
        entry_about(sealed, seq, "pack", timedelta(), path=folder, user="alice"),
        entry_about(sealed, seq + 2, "media-write", timedelta(hours=1), to="/media/a, /media/b", media=[*STICKS],
                    read_back="ok", path=folder),
        entry_about(sealed, seq + 4, "media-verify", timedelta(hours=2), path="/media/a", media=[STICKS[0]],
                    read_back="ok", user="carol"),
    ]  # fmt: skip


def _odd_entries(refused: Sealed, failed: Sealed) -> list[LedgerEntry]:
    stick = "/media/a/line-control-0043"
    return [
        entry_about(refused, 71, "verify", 5 * DAY, result="refused", exit_code=12, path=stick, user="dave",
                    error=f"wrong digest: {stick}/index.json, want sha256:{'d3' * 32}, got sha256:{'b8' * 32}"),
        entry_about(failed, 73, "send", timedelta(hours=3), result="failed", exit_code=20, target="plant-4.example.com",
                    error="the connection failed: plant-4.example.com, got no answer in time"),
    ]  # fmt: skip


def officer_report(
    template: Sealed, receipt: KeptReceipt, roots: Mapping[int, TrustRoot], now: datetime, ledger: LedgerState
) -> Report:
    """A report with a bundle in each state: confirmed, superseded, waiting (nobody or some answered), overdue."""
    ends = now + 30 * DAY

    def sealed(stream: str, serial: int, age: int, *sites: str, **changes: Any) -> Sealed:
        created = now - age * DAY
        stated = {
            "destinations": sites,
            "created": created,
            "not_before": created,
            "expires": ends,
            "transfer": STATED,
        }
        return sealed_as(template, stream, serial, **(stated | changes))

    first, second = sealed("line-control", 41, 63, *SITES[:3]), sealed("line-control", 42, 33, *SITES[:3])
    third = sealed("line-control", 43, 6, *SITES)
    late = sealed("tools", 7, 40, transfer={"ticket": "CHG-19888"})
    fresh = sealed("historian", 1, 1, "plant-4")
    failed = tuple(
        replace(image, verdict="failed", error="no space left") for image in receipt.receipt.images
    )
    receipts = [
        *(answer_of(receipt, first, site, 2 * DAY) for site in SITES[:3]),
        *(answer_of(receipt, second, site, 2 * DAY) for site in SITES[:2]),
        *(answer_of(receipt, third, site, 2 * DAY) for site in SITES[:3]),
        answer_of(receipt, third, "plant-4", 3 * DAY, result="failed", images=failed, holds=()),
    ]
    bundles = (first, late, second, third, fresh)
    entries = [
        entry for number, bundle in enumerate(bundles) for entry in make_entries(bundle, 10 * number + 1)
    ]
    entries += _odd_entries(third, fresh)
    kept = Kept(bundles, tuple(sorted(receipts, key=lambda answer: answer.receipt.time)))
    return Report(
        site="hq", time=now, ledger=ledger, witnesses=14, entries=tuple(entries), roots=roots,
        review=review(kept, "hq", now, 14 * DAY),
    )  # fmt: skip
