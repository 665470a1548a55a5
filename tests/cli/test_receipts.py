"""Receipts of honest loads of every kind are taken in without a word; what was put there by hand is not."""

import csv
import io
import json
import re
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from airgap.audit.receipt import Receipt
from airgap.site import Site
from airgap.trust.envelope import STATEMENT_TYPE, Envelope
from airgap.trust.keys import SigningKey
from tests.cli.conftest import Gap
from tests.cli.test_audit import introduce
from tests.support.images import Image, Layer, make_image, make_index, noise, simple_image
from tests.support.registry import FakeRegistry

API, WEB = simple_image("api"), simple_image("web")
MULTI = make_index(
    [
        make_image([Layer.of({"bin": noise(300, at)})], f"linux/{cpu}")
        for at, cpu in enumerate(("amd64", "arm64"))
    ]
)


def packed(gap: Gap, *words: object, head: str = "", **images: Image) -> Path:
    """The folder of the next bundle, of these images."""
    path = gap.layout(**(images or {"api": API, "web": WEB, "multi": MULTI}))
    path.write_text(path.read_text().replace("images:", f"{head}images:"))
    made = gap.online("pack", path, "--to", gap.stick, *words, "--json").json
    return Path(made["path"] if "path" in made else made["bundle"])


def loaded(gap: Gap, bundle: Path, *words: object, to: str = "oci", code: int = 0) -> Path:
    target = to if ":" in to else f"{to}:{gap.folder}/{to}"
    done = gap.offline("load", bundle, "--to", target, *words, "--json", code=code)
    return Path(done.json["receipt"])


def one_platform(gap: Gap) -> Path:
    return loaded(gap, packed(gap, head="platforms: [linux/amd64]\n", multi=MULTI))


def mapped(gap: Gap) -> Path:
    return loaded(gap, packed(gap), "--map", "example.com=harbor.example/mirror")


def archive(gap: Gap) -> Path:
    return loaded(gap, packed(gap), to=f"archive:{gap.folder}/all.tar")


def k3s(gap: Gap) -> Path:
    (gap.folder / "k3s").mkdir()
    return loaded(gap, packed(gap), to="k3s")


def again(gap: Gap) -> Path:
    bundle = packed(gap)
    loaded(gap, bundle)
    return loaded(gap, bundle)


def received(gap: Gap) -> Path:
    bundle = packed(gap)
    gap.offline("receive", bundle, "--into", gap.folder / "store")
    shutil.rmtree(bundle)
    return loaded(gap, gap.folder / "store" / bundle.name)


def tarred(gap: Gap) -> Path:
    bundle = packed(gap, "--tar")
    return loaded(gap, bundle)


def after_a_delta(gap: Gap) -> Path:
    gap.online("receipt", "import", loaded(gap, packed(gap, api=API)))
    [base] = (Site(gap.online.home).home / "receipts" / "plant-7").iterdir()
    return loaded(gap, packed(gap, "--since", base, api=API, new=simple_image("new")))


def partial(gap: Gap) -> Path:
    with FakeRegistry() as registry:
        registry.fault(method="PUT", path="/manifests/", status=403, times=1)
        return loaded(gap, packed(gap), to=f"registry:{registry.host}", code=3)


def into_a_registry(gap: Gap) -> Path:
    with FakeRegistry() as registry:
        return loaded(gap, packed(gap), to=f"registry:{registry.host}/mirror")


def one_platform_into_a_registry(gap: Gap) -> Path:
    """That takes no index with gaps: the name means the only platform."""
    with FakeRegistry() as registry:
        registry.fault(method="PUT", path="/manifests/1$", status=400, times=1)
        bundle = packed(gap, head="platforms: [linux/amd64]\n", multi=MULTI)
        return loaded(gap, bundle, to=f"registry:{registry.host}")


def all_failed(gap: Gap) -> Path:
    with FakeRegistry() as registry:
        registry.fault(method="PUT", path="/manifests/", status=403)
        return loaded(gap, packed(gap), to=f"registry:{registry.host}", code=18)


HONEST: dict[str, Callable[[Gap], Path]] = {
    "a folder": lambda gap: loaded(gap, packed(gap)), "one platform": one_platform, "--map": mapped,
    "an archive": archive, "a node's folder": k3s, "again": again, "after receive": received,
    "a tar": tarred, "a delta": after_a_delta, "some failed": partial, "a registry": into_a_registry,
    "one platform into a registry": one_platform_into_a_registry, "all failed": all_failed,
}  # fmt: skip


@pytest.mark.parametrize("load", HONEST.values(), ids=HONEST)
def test_an_honest_receipt_raises_no_alarm(gap: Gap, load: Callable[[Gap], Path]) -> None:
    introduce(gap)
    receipt = load(gap)
    [value] = gap.online("receipt", "import", receipt, "--json").json["receipts"]
    assert value["alarms"] == []
    report = gap.online("audit", "report", "--json").json
    assert report["alarms"] == []
    whole = value["result"] == "ok"
    assert report["sent"][-1]["state"] == ("received" if whole else "partial")
    assert report["sent"][-1]["disputed"] == []
    assert gap.offline("audit", "report", "--json").json["alarms"] == []


def test_a_signature_that_was_added_after_sealing(gap: Gap) -> None:
    """Where another person signs, this side has a copy of the envelope without that signature."""
    introduce(gap)
    gap.online("key", "generate", "bob")
    shown = gap.online("key", "show", "bob", "--json").json
    public = gap.folder / "bob.pub"
    public.write_text(shown["pem"])
    gap.online("trust", "add", "bob", "--key", public, "--keyid", shown["keyid"])
    gap.online("trust", "threshold", "release", "2", "--distinct-owners")
    bundle = packed(gap, "--key", "alice")
    gap.online("sign", bundle, "--yes", "--key", "bob")
    [value] = gap.online("receipt", "import", loaded(gap, bundle), "--json").json["receipts"]
    assert value["alarms"] == []
    title = f"bob {shown['keyid'][:16]}"
    assert value["unconfirmed"] == [f"{title} had not signed at sealing; it may have signed later"]


def test_names_given_by_map_are_told(gap: Gap) -> None:
    introduce(gap)
    said = gap.online("receipt", "import", mapped(gap)).out.splitlines()
    assert "not confirmed: example.com/api:1 is named harbor.example/mirror/api:1 there" in said


# -- who can write into the site's folder


@pytest.fixture
def answered(gap: Gap) -> Gap:
    introduce(gap)
    gap.online("receipt", "import", loaded(gap, packed(gap)))
    return gap


def kept(gap: Gap) -> Path:
    [path] = (gap.online.home / "receipts" / "plant-7").iterdir()
    return path


def by(key: SigningKey | None) -> Callable[[Gap], None]:
    """The receipt again, signed by another key or by none that is known."""

    def change(gap: Gap) -> None:
        payload = Envelope.parse(kept(gap).read_bytes(), "x").payload
        signer = key or Site(gap.online.home).key
        kept(gap).write_bytes(Envelope.sign(STATEMENT_TYPE, payload, [signer]).to_bytes())

    return change


def changed(gap: Gap) -> None:
    """Under the signature of the true one."""
    envelope = Envelope.parse(kept(gap).read_bytes(), "x")
    receipt = replace(Receipt.parse(envelope.payload), target="somewhere else")
    kept(gap).write_bytes(replace(envelope, payload=receipt.to_bytes()).to_bytes())


def without_signatures(gap: Gap) -> None:
    value = json.loads(kept(gap).read_bytes())
    kept(gap).write_text(json.dumps(value | {"signatures": []}))


def a_link(gap: Gap) -> None:
    path = kept(gap)
    path.rename(gap.folder / "elsewhere")
    path.symlink_to(gap.folder / "elsewhere")


PLANTED: dict[str, Callable[[Gap], None]] = {
    "signed by a stranger": by(SigningKey.generate("ecdsa-p256")), "signed by another site": by(None),
    "changed": changed, "without signatures": without_signatures,
    "a link": a_link,
}  # fmt: skip


@pytest.mark.parametrize("plant", PLANTED.values(), ids=PLANTED)
def test_a_receipt_that_was_put_there_does_not_count(answered: Gap, plant: Callable[[Gap], None]) -> None:
    plant(answered)
    report = answered.online("audit", "report", "--json").json
    [sent] = report["sent"]
    assert (sent["state"], sent["receipts"]) == ("waiting", [])
    assert any(str(kept(answered)) in alarm for alarm in report["alarms"])
    told = answered.online("audit", "verify", "--json", code=17).json
    assert told["unreadable"] == [str(kept(answered))]


def test_a_receipt_that_is_gone_is_missed(answered: Gap) -> None:
    path = kept(answered)
    path.unlink()
    line = f"a receipt of stack-0001 is missing: {path} (line "
    page = answered.folder / "page.html"
    report = answered.online("audit", "report", "--html", page)
    assert f"alarm: {line}" in report.out
    assert line in page.read_text()
    assert line in answered.online("audit", "verify", code=17).out


def test_a_receipt_in_the_place_of_another_is_missed(answered: Gap) -> None:
    """It is signed, and is not the one that was taken in."""
    other = loaded(answered, answered.stick / "stack-0001", to="oci")
    shutil.copy(other, kept(answered))
    assert "a receipt of stack-0001 is missing: " in answered.online("audit", "report").out


def test_a_receipt_of_a_load_here_is_missed(answered: Gap) -> None:
    for path in (answered.offline.home / "receipts").iterdir():
        path.unlink()
    assert "alarm: a receipt of stack-0001 is missing: " in answered.offline("audit", "report").out
    assert "a receipt of stack-0001 is missing: " in answered.offline("audit", "verify", code=17).out


def test_a_sealed_bundle_that_nobody_signed_is_no_measure(answered: Gap) -> None:
    [path] = (answered.online.home / "sent" / "stack").glob("*.dsse.json")
    payload = Envelope.parse(path.read_bytes(), "x").payload
    stranger = SigningKey.generate("ecdsa-p256")
    path.write_bytes(Envelope.sign(STATEMENT_TYPE, payload, [stranger]).to_bytes())
    report = answered.online("audit", "report", "--json").json
    assert report["sent"] == []
    assert any(
        "ignored, because it is not signed by a key that may sign bundles" in each
        for each in report["alarms"]
    )


# -- a site that lies


def test_a_lie_is_told_everywhere(gap: Gap) -> None:
    introduce(gap)
    receipt = loaded(gap, packed(gap))
    told = Receipt.parse(Envelope.parse(receipt.read_bytes(), "x").payload)
    lie = replace(told, images=told.images[1:], keyids=("0" * 64,))
    path = gap.folder / "lie.json"
    raw = Envelope.sign(STATEMENT_TYPE, lie.to_bytes(), [Site(gap.offline.home).key]).to_bytes()
    path.write_bytes(raw)
    left_out = f"it does not mention {told.images[0].reference} {told.images[0].digest}"
    signer = "unknown key 0000000000000000 is listed as a signer"
    done = gap.online("receipt", "import", path, code=13)
    page = gap.folder / "page.html"
    report = gap.online("audit", "report", "--html", page).out
    table = gap.online("audit", "export").out
    for text in (done.out, report, page.read_text(), table):
        assert left_out in text
        assert signer in text
    assert "(disagrees with the bundle)" in report
    assert "loaded, not as sealed" in gap.online("audit", "find", told.images[1].digest).out
    assert kept(gap).read_bytes() == raw
    assert gap.online("audit", "report", "--json").json["sent"][0]["state"] == "partial"
    refused = gap.online("pack", gap.folder / "stack.yaml", "--to", gap.stick, "--since", path, code=13)
    assert "the receipt does not agree with the bundle that was sealed here" in refused.err


HOSTILE = "\x1b]0;x\x07\x1b[2J\r\n=1+1;=cmd|' /C calc'!A0\u202e"


def test_a_receipt_that_speaks_to_the_terminal(gap: Gap) -> None:
    """Its texts are the site's own; where they are shown they are text, on a page and in a table too."""
    introduce(gap)
    receipt = loaded(gap, packed(gap))
    told = Receipt.parse(Envelope.parse(receipt.read_bytes(), "x").payload)
    image = replace(told.images[0], error=HOSTILE, reason=f"<script>{HOSTILE}", target_digest=None)
    lie = replace(
        told, target=f"<b>{HOSTILE}", operator=HOSTILE, tool_version=HOSTILE, bundle_stream=HOSTILE,
        images=(image, *told.images[1:]), checkpoint={**told.checkpoint, "origin": HOSTILE},
    )  # fmt: skip
    path = gap.folder / "lie.json"
    path.write_bytes(Envelope.sign(STATEMENT_TYPE, lie.to_bytes(), [Site(gap.offline.home).key]).to_bytes())
    page = gap.folder / "page.html"
    seq = len(gap.online.records()) + 1
    for words, code in (
        (("receipt", "import", path, "--debug"), 13), (("receipt", "show", path), 0),
        (("audit", "report", "--html", page), 0), (("audit", "log"), 0), (("audit", "find", "calc"), 0),
        (("audit", "export"), 0), (("audit", "show", seq), 0),
    ):  # fmt: skip
        done = gap.online(*words, code=code)
        shown = (done.out + done.err).replace("\r\n", "\n").replace("\n", "")
        assert shown.isprintable(), words
    assert "<script" not in page.read_text()
    assert "<b>" not in page.read_text()
    for row in csv.reader(io.StringIO(gap.online("audit", "export").out)):
        assert not any(re.match("[=+@-]|.*[;,|] *[=+@-]", cell) for cell in row)
