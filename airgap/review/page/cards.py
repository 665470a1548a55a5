"""The card of a bundle: what it is, who signed it, which media have it, and what the sites answered."""

from collections.abc import Iterable, Mapping, Sequence

from airgap.audit.record import Outcome
from airgap.audit.report import LedgerEntry
from airgap.bundle.medium import format_size
from airgap.bundle.statement import ImageRecord, Statement
from airgap.oci.files_artifact import CarriedFile
from airgap.review.export import stated_pairs, texts
from airgap.review.media import media_of
from airgap.review.page.markup import (
    BLANK,
    Html,
    code,
    element,
    element_table,
    facts,
    markup,
    moment,
    stacked,
)
from airgap.review.records import KeptReceipt
from airgap.review.report import STATES, Report
from airgap.review.signers import describe_key, signing_keys
from airgap.review.transfers import Recipient, Standing, Transfer, TransferState

_ACTIONS = {
    "pack": "written",
    "kit": "written",
    "media-write": "written",
    "receive": "received",
    "media-verify": "checked",
}
"""What was done with the media, by the event of the entry."""
_KINDS = {
    TransferState.RECEIVED: "good",
    TransferState.WAITING: "open",
    TransferState.PARTIAL: "open",
    TransferState.OVERDUE: "bad",
    TransferState.SUPERSEDED: "quiet",
    TransferState.RECALLED: "bad",
}
"""The look of a state; its word is always there too."""
MEDIA = ("Done", "Time", "By", "Label", "Serial", "Medium", "At", "Read back")


def sent_card(transfer: Transfer, entries: Sequence[LedgerEntry], report: Report) -> Html:
    """Return the card of a bundle that was sealed here. `entries` are those about it."""
    statement = transfer.sealed.statement
    return _card(
        statement.title,
        badge(transfer.state),
        element("p", transfer.answers, class_="answers"),
        facts(_statement_facts(transfer, entries, report)),
        _stated(sorted(statement.transfer.items())),
        element_table("Images", ("Name", "Digest", "Platforms", "Source"), [*map(_image, statement.images)]),
        element_table("Media", MEDIA, media_rows(entries)),
        element_table(
            "Answers",
            ("Site", "Answer", "Time", "Loaded by, into", "Receipt SHA-256"),
            _answers(transfer),
        ),
    )


def badge(state: TransferState) -> Html:
    """Return the word of a state, with its look."""
    return element("span", STATES.get(state, state), class_=f"badge {_KINDS[state]}")


def _card(title: str, mark: object, *content: object) -> Html:
    return markup(element("article", element("h3", title, " ", mark), *content), Html("\n"))


def _statement_facts(
    transfer: Transfer, entries: Sequence[LedgerEntry], report: Report
) -> Iterable[tuple[str, object]]:
    statement = transfer.sealed.statement
    root = report.roots.get(statement.root_version)
    keyids = signing_keys(transfer.sealed, report.roots, entries)
    yield "Sealed", markup(moment(statement.created), *_sealer(entries))
    yield "For", transfer.audience
    yield "Valid until", moment(statement.expires)
    yield "Size", f"{format_size(statement.total_bytes)} in {len(statement.subjects)} files"
    yield "Signed by", stacked(describe_key(keyid, root) for keyid in keyids)
    yield "Under", f"trust root {statement.root_version}"
    yield "Leaves out", _base(statement)
    yield "Statement SHA-256", code(transfer.sealed.statement_sha256)


def _sealer(entries: Iterable[LedgerEntry]) -> Iterable[str]:
    for entry in entries:
        if entry.event == "pack":
            yield f" by {entry.user}" + (f" on {entry.host}" if entry.host else "")
            return


def _base(statement: Statement) -> str:
    if not statement.requires:
        return ""
    size = format_size(sum(item.size for item in statement.requires))
    after = f" after serial {statement.previous.serial:04d}" if statement.previous else ""
    count = len(statement.requires)
    return f"{size} in {count} {'blob' if count == 1 else 'blobs'} that the sites have{after}"


def _stated(pairs: Sequence[tuple[str, object]]) -> Html:
    return markup(element("h4", "As stated for the transfer"), facts(pairs)) if pairs else Html()


def _image(image: ImageRecord) -> tuple[object, ...]:
    origin = str(image.reference)
    source = image.source if origin == str(image.name) else stacked((origin, image.source))
    platforms = ", ".join(platform.platform for platform in image.platforms) or image.kind
    return str(image.name), code(image.digest), stacked(map(_file, image.files)) or platforms, source


def _file(carried: CarriedFile) -> str:
    return f"{carried.name}, {format_size(carried.size)}, mode {carried.mode}, {carried.digest}"


def media_rows(entries: Iterable[LedgerEntry]) -> list[tuple[object, ...]]:
    """Return a row for each medium of each entry that wrote or checked one."""
    return [_medium(entry, medium) for entry in entries for medium in media_of(entry)]


def _medium(entry: LedgerEntry, medium: Mapping[str, object]) -> tuple[object, ...]:
    alone = len(media_of(entry)) == 1
    size = medium.get("size")
    product = [str(medium[key]) for key in ("vendor", "product") if medium.get(key)]
    amount = [format_size(size)] if isinstance(size, int) else []
    removable = [] if medium.get("removable") or medium.get("serial") else ["built in"]
    read_back = "not read" if medium.get("read") is False else entry.details.get("read_back")
    done = _ACTIONS.get(entry.event, entry.event)
    return (
        done if entry.result == Outcome.OK else f"{done} ({entry.result})",
        moment(entry.time), entry.user, medium.get("label") or BLANK, medium.get("serial") or BLANK,
        ", ".join((" ".join(product), *amount, *removable)).strip(", "),
        code((entry.place if alone else "") or medium.get("mount_point")), read_back or BLANK,
    )  # fmt: skip


def _answers(transfer: Transfer) -> list[tuple[object, ...]]:
    rows: list[tuple[object, ...]] = []
    listed: set[KeptReceipt] = set()
    for recipient in transfer.recipients:
        rows += [_answer(answer, transfer) for answer in recipient.receipts]
        listed.update(recipient.receipts)
        if (words := _standing(recipient)) or not recipient.receipts:
            rows.append((recipient.site, words, BLANK, BLANK, BLANK))
    return rows + [_answer(answer, transfer) for answer in transfer.receipts if answer not in listed]


def _standing(recipient: Recipient) -> str:
    if recipient.standing is Standing.SUPERSEDED:
        return f"superseded: it confirmed {recipient.later}"
    return "no answer" if recipient.standing is Standing.MISSING else ""


def _answer(answer: KeptReceipt, transfer: Transfer) -> tuple[object, ...]:
    receipt = answer.receipt
    words = (
        "confirmed: all images are there" if transfer.confirms(answer) else f"{receipt.result}, not complete"
    )
    if answer in transfer.disputed:
        words = f"{receipt.result}, but it disagrees with the bundle: see the alarms"
    sha256 = code(answer.sha256 or BLANK)
    return receipt.site, words, moment(receipt.time), stacked((receipt.by, code(receipt.target))), sha256


def loaded_card(load: KeptReceipt, entries: Sequence[LedgerEntry], report: Report) -> Html:
    """Return the card of a load here. `entries` are those about its bundle."""
    receipt = load.receipt
    root = report.root_of(load)
    done = next((e for e in entries if e.details.get("receipt_sha256") == load.sha256), None)
    details = done.details if done else {}
    platforms = {
        image.get("reference"): texts(image.get("platforms")) for image in (done.images if done else ())
    }
    size = details.get("bytes")
    recall = report.recall_of(load)
    good = receipt.result == Outcome.OK and recall is None
    state = f"loaded: {receipt.result}" + (", recalled" if recall else "")
    return _card(
        load.title,
        element("span", state, class_=f"badge {'good' if good else 'bad'}"),
        facts(
            (
                ("Loaded", markup(moment(receipt.time), f" by {receipt.by}")),
                ("Into", markup(code(receipt.target), f" {receipt.target_engine or receipt.target_version}")),
                ("Recalled", recall.words if recall else ""),
                ("Size", format_size(size) if isinstance(size, int) else ""),
                ("Signed by", stacked(describe_key(keyid, root) for keyid in receipt.keyids)),
                ("Under", f"trust root {receipt.root_version}, {receipt.threshold} needed"),
                ("Statement SHA-256", code(receipt.statement_sha256)),
                ("Receipt SHA-256", code(load.sha256)),
            )
        ),
        _stated([*stated_pairs(done).items()] if done else []),
        element_table(
            "Images",
            ("Name", "Digest", "Platforms", "Result", "Replaces"),
            [
                (
                    image.reference,
                    code(image.digest),
                    ", ".join(platforms.get(image.reference, ())) or BLANK,
                    f"{image.verdict}{f': {image.error}' if image.error else ''}",
                    code(image.before or BLANK),
                )
                for image in receipt.images
            ],
        ),
        element_table("Media", MEDIA, media_rows(entries)),
    )
