"""Which names a load removes: only what the stream itself brought, and nobody else has or uses."""

from dataclasses import replace
from datetime import timedelta

import pytest

from airgap.audit.receipt import PrunedName, Receipt, ReceiptImage
from airgap.errors import AccessDeniedError, EndpointError, UnavailableError
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from airgap.offline.prune import choose_names
from tests.support.memory import MemoryContent, MemoryRegistry
from tests.unit.audit.test_receipt import RECEIPT

OLD, NEW, OTHER = (str(Digest.of(text)) for text in (b"old", b"new", b"other"))
WEB, API = "plant.example/web:1", "plant.example/api:1"
KEY = "1" * 64


def receipt(serial: int, *images: tuple[str, str, str | None, str | None], **changes: object) -> Receipt:
    """A receipt of a load: name, verdict, what the name meant before, and what it means after."""
    listed = tuple(
        ReceiptImage(name, NEW, verdict, before=before, target_digest=after)
        for name, verdict, before, after in images
    )
    made = replace(
        RECEIPT, serial=serial, time=RECEIPT.time + timedelta(days=serial), images=listed, keyids=(KEY,)
    )
    return replace(made, **changes)


def chosen(
    names: dict[str, str], receipts: list[Receipt], listed: tuple[str, ...] = (), kind: type = MemoryContent
) -> tuple[list[str], list[str]]:
    target = kind(names={name: Digest.parse(digest) for name, digest in names.items()})
    pruning = choose_names(target, "edge", map(ImageReference.parse, listed), receipts, [KEY])
    return [str(n.reference) for n in pruning.remove], [k.reason for k in pruning.kept]


BROUGHT = receipt(1, (WEB, "loaded", None, OLD))


@pytest.mark.parametrize(
    ("receipts", "now", "listed", "found"),
    [
        ([BROUGHT], OLD, (), ([WEB], [])),
        ([receipt(1, (WEB, "placed", None, OLD))], OLD, (), ([WEB], [])),
        ([BROUGHT, receipt(2, (WEB, "loaded", OLD, NEW))], NEW, (), ([WEB], [])),
        ([receipt(2, (WEB, "loaded", OLD, NEW)), BROUGHT], NEW, (), ([WEB], [])),
        ([BROUGHT, receipt(2, (WEB, "already there", OLD, OLD))], OLD, (), ([WEB], [])),
        ([BROUGHT], OLD, (WEB,), ([], [])),
        ([BROUGHT], None, (), ([], [])),
        ([BROUGHT], OTHER, (), ([], [f"it refers to another image now: {OTHER}"])),
        ([receipt(1, (WEB, "already there", OLD, OLD))], OLD, (), ([], [])),
        ([receipt(1, (WEB, "loaded", OTHER, OLD))], OLD, (), ([], [])),
        ([receipt(1, (WEB, "loaded", OLD, OLD))], OLD, (), ([], [])),
        ([BROUGHT, receipt(2, (WEB, "loaded", OTHER, NEW))], NEW, (), ([], [])),
        ([receipt(1, (WEB, "failed", None, None))], OLD, (), ([], [])),
        ([receipt(1, (WEB, "skipped", None, None))], OLD, (), ([], [])),
        ([replace(BROUGHT, keyids=("9" * 64,))], OLD, (), ([], [])),
        ([replace(BROUGHT, bundle_stream="other")], OLD, (), ([], [])),
        ([BROUGHT, receipt(2, pruned=(PrunedName(WEB, OLD),))], OLD, (), ([], [])),
    ],
)  # fmt: skip
def test_only_what_the_stream_brought_is_removed(receipts, now, listed, found):
    assert chosen({WEB: now} if now else {}, receipts, listed) == found


def other(serial: int, **changes: object) -> Receipt:
    return receipt(serial, (WEB, "already there", OLD, OLD), bundle_stream="other", **changes)


@pytest.mark.parametrize(
    ("others", "found"),
    [
        ([other(1)], ([], ["other-0001 has it too"])),
        ([other(1), receipt(2, (API, "loaded", None, OLD), bundle_stream="other")], ([WEB], [])),
        ([other(3), receipt(2, (API, "loaded", None, OLD), bundle_stream="other")], ([], ["other-0003 has it too"])),
        ([receipt(2, (WEB, "failed", None, None), bundle_stream="other")], ([WEB], [])),
        ([replace(other(1), bundle_stream="edge", keyids=("9" * 64,))], ([], ["edge-0001 has it too"])),
    ],
)  # fmt: skip
def test_what_another_stream_has_is_left(others, found):
    assert chosen({WEB: OLD}, [BROUGHT, *others]) == found


def test_a_registry_has_one_name_for_all_hosts():
    renamed = WEB.replace("plant.example", "other.example")
    assert chosen({WEB: OLD}, [BROUGHT], (renamed,), MemoryRegistry) == ([], [])
    assert chosen({WEB: OLD}, [BROUGHT], (renamed,), MemoryContent) == ([WEB], [])


class Denying(MemoryContent):
    error: type[EndpointError] = AccessDeniedError

    def find(self, reference: ImageReference) -> Digest | None:
        raise self.error("no", subject=reference)


def test_a_name_that_cannot_be_asked_for_is_left():
    assert chosen({WEB: OLD}, [BROUGHT], kind=Denying) == ([], [f"no: {WEB}"])
    with pytest.raises(UnavailableError):
        chosen({WEB: OLD}, [BROUGHT], kind=type("Gone", (Denying,), {"error": UnavailableError}))
