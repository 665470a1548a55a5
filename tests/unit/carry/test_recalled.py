from dataclasses import replace

import pytest

from airgap.audit.receipt import PrunedName, ReceiptImage
from airgap.bundle.volumes import open_bundle
from airgap.carry.recalled import LoadedName, check_recalled, loaded_names, still_loaded
from airgap.carry.verify import check, verify
from airgap.carry.verify_recorded import keep_mark, opened, refuse_recalled_since
from airgap.errors import RecalledError
from airgap.oci.digest import Digest
from airgap.trust.recall import Recall
from airgap.trust.root import SignedRoot
from tests.support.bundles import sign_root
from tests.unit.audit.test_receipt import RECEIPT


def recall_of(gap, **changes):
    statement = gap.statement
    usual = Recall(
        statement_sha256=Digest.of(gap.envelope.payload).hex, stream=statement.stream,
        epoch=statement.epoch, serial=statement.serial, reason="leaks", time=statement.created,
    )  # fmt: skip
    return replace(usual, **changes)


def recalling(gap, *recalls):
    """The trust root of a receiver that knows these recalls."""
    root = replace(gap.receiver().root.root, recalled=recalls)
    return SignedRoot.parse(sign_root(root, gap.key), "root")


@pytest.mark.parametrize("read", [verify, check])
def test_a_recalled_bundle_is_refused_before_anything_else_of_step_7(gap, read):
    who = gap.receiver(root=recalling(gap, recall_of(gap)), site="elsewhere")
    with open_bundle(gap.bundle) as folder, pytest.raises(RecalledError, match="leaks"):
        read(folder, who)


def test_another_recall_changes_nothing(gap):
    who = gap.receiver(root=recalling(gap, recall_of(gap, statement_sha256="0" * 64)))
    with open_bundle(gap.bundle) as folder:
        verify(folder, who)


def test_a_recalled_bundle_may_be_compared(gap):
    who = gap.receiver(root=recalling(gap, recall_of(gap)), recalled_too=True)
    with open_bundle(gap.bundle) as folder:
        check(folder, who)
    with open_bundle(gap.bundle) as folder, pytest.raises(RecalledError):
        verify(folder, who)


def error_for(gap, *loaded, **changes):
    root = recalling(gap, recall_of(gap, **changes)).root
    sha256 = Digest.of(gap.envelope.payload).hex
    with pytest.raises(RecalledError) as caught:
        check_recalled(gap.statement, sha256, root, lambda _: loaded)
    return caught.value


def test_a_recall_by_another_name_is_refused_and_said(gap):
    error = error_for(gap, serial=9)
    assert error.subject == gap.statement.title
    assert "the recall calls it edge-0009, epoch 1" in str(error)
    assert "the recall calls it" not in str(error_for(gap))


def test_what_is_loaded_is_said(gap):
    still = [LoadedName(target="docker", reference=f"a:{n}") for n in range(10)]
    gone = LoadedName(target="docker", reference="b:1", replaced_by="edge-0002")
    hint = error_for(gap, *still, gone).hint
    assert hint.startswith("loaded here and not replaced: a:0 at docker, a:1 at docker")
    assert "a:7 at docker and 2 more; replaced since: b:1 at docker by edge-0002; load a newer" in hint
    assert error_for(gap).hint.startswith("nothing of it is loaded here")
    assert "ask the sending side" in error_for(gap, gone).hint


def test_a_recall_that_arrives_during_a_load_stops_it(gap):
    site = gap.site
    root = replace(site.root().root, version=site.root().root.version + 1, recalled=(recall_of(gap),))
    with opened(gap.bundle, site, "load", gap.now) as (bundle, attempt):
        site.install_root(SignedRoot.parse(sign_root(root, gap.key), "root"))
        for keep in (lambda: keep_mark(bundle, site, attempt), lambda: refuse_recalled_since(bundle, site)):
            with pytest.raises(RecalledError, match="leaks"):
                keep()
    assert site.received(gap.statement.stream) is None


def test_no_receipts_no_names():
    assert loaded_names([], "0" * 64) == []


def load(serial, *names, **changes):
    """A receipt of a load that brought these names."""
    images = tuple(ReceiptImage(name, "sha256:" + "1" * 64, "loaded") for name in names)
    made = replace(RECEIPT, serial=serial, statement_sha256=f"{serial:064d}", images=images)
    return replace(made, **changes)


def test_a_name_that_a_later_load_removed_is_not_loaded():
    recalled = load(1, "a.example/web:1", "a.example/api:1")
    pruning = load(2, pruned=(PrunedName("a.example/web:1", "sha256:" + "1" * 64),))
    recall = Recall(
        statement_sha256=f"{1:064d}", stream="edge", epoch=1, serial=1, reason="leaks", time=RECEIPT.time
    )
    receipts = [recalled, pruning]
    assert [name.reference for name in loaded_names(receipts, recall.statement_sha256)] == ["a.example/api:1"]
    assert [found.references for found in still_loaded(receipts, [recall])] == [("a.example/api:1",)]
    again = [*receipts, recalled]  # by a step back
    assert len(loaded_names(again, recall.statement_sha256)) == 2
    assert [len(found.references) for found in still_loaded(again, [recall])] == [2]
