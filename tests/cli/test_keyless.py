"""`cosign-identity:`: a keyless signature is required at the source, and checked again on the other side."""

import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from airgap.oci.digest import Digest
from tests.cli.conftest import Gap
from tests.support.images import simple_image
from tests.support.keyless import ISSUER, SUBJECT, Signing, SigstoreInstance, signature_image
from tests.support.registry import FakeRegistry

API, OTHER = simple_image("api"), simple_image("other")
INSTANCE = SigstoreInstance()
SIGNATURE = signature_image(INSTANCE.sign(Signing(str(API.descriptor.digest))), API)


@dataclass(frozen=True)
class Source:
    """A registry with a signed image, and the sites on both sides."""

    gap: Gap
    fake: FakeRegistry

    def manifest(self, name: str = "api", issuer: str = ISSUER, subject: str = SUBJECT) -> Path:
        identity = json.dumps({"issuer": issuer, "subject": subject, "trusted-root": "root.json"})
        return self.gap.manifest(f"{{ref: '{self.fake.host}/{name}:1', cosign-identity: {identity}}}")

    def pack(self, *words: object, code: int = 0, **wanted: str) -> Any:
        return self.gap.online("pack", self.manifest(**wanted), "--to", self.gap.stick, *words, code=code)


@pytest.fixture
def source(gap: Gap) -> Iterator[Source]:
    (gap.folder / "root.json").write_bytes(INSTANCE.trusted_root)
    with FakeRegistry() as fake:
        fake.referrers_api = True
        fake.add("api", "1", API)
        fake.add("api", None, SIGNATURE)
        fake.add("other", "1", OTHER)
        yield Source(gap, fake)


def identity(source: Source, *, checked: bool) -> dict[str, Any]:
    return {
        "reference": f"{source.fake.host}/api:1",
        "issuer": ISSUER,
        "subject": SUBJECT,
        "checked": checked,
    }


@pytest.mark.parametrize("form", [(), ("--tar",)], ids=["folder", "tar"])
def test_it_crosses_the_gap_and_is_checked_again(source: Source, form: tuple[str, ...]) -> None:
    source.pack(*form)
    bundle = source.gap.stick / ("stack-0001.tar" if form else "stack-0001")
    shown = source.gap.offline("verify", bundle)
    assert f"{source.fake.host}/api:1: signed by {SUBJECT} (issuer {ISSUER})\n" in shown.out
    assert "warning" not in shown.err
    assert source.gap.offline("verify", bundle, "--json").json["bundles"][0]["identities"] == [
        identity(source, checked=True)
    ]
    loaded = source.gap.offline("load", bundle, "--to", f"oci:{source.gap.folder}/out", "--json").json
    assert loaded["identities"] == [identity(source, checked=True)]


def test_a_side_without_the_library_says_so(source: Source, monkeypatch: pytest.MonkeyPatch) -> None:
    source.pack()
    monkeypatch.setitem(sys.modules, "sigstore", None)
    for words in (("verify",), ("load", "--to", f"oci:{source.gap.folder}/out")):
        shown = source.gap.offline(words[0], source.gap.stick / "stack-0001", *words[1:])
        assert f"signed by {SUBJECT} (issuer {ISSUER}), not checked here\n" in shown.out
        assert "warning: keyless signatures were not checked here" in shown.err
        assert "hint: pip install 'airgap[sigstore]'" in shown.err
    source.gap.folder.joinpath("stick2").mkdir()
    refused = source.gap.online("pack", source.manifest(), "--to", source.gap.folder / "stick2", code=2)
    assert "keyless signatures need a library that is not installed" in refused.err


def test_the_trusted_root_is_a_listed_file(source: Source) -> None:
    source.pack()
    bundle = source.gap.stick / "stack-0001"
    path = bundle / f"trust/{Digest.of(INSTANCE.trusted_root).hex}.trusted_root.json"
    assert path.read_bytes() == INSTANCE.trusted_root
    path.write_bytes(SigstoreInstance().trusted_root)
    source.gap.offline("verify", bundle, code=12)


REFUSED = {
    "another subject": ({"subject": SUBJECT + "2"}, "no upstream signature is valid"),
    "a pattern": ({"subject": ".*"}, "no upstream signature is valid"),
    "another issuer": ({"issuer": "https://issuer.example.org"}, "no upstream signature is valid"),
    "an unsigned image": ({"name": "other"}, "no upstream signature"),
}


@pytest.mark.parametrize(("wanted", "words"), REFUSED.values(), ids=REFUSED)
def test_nothing_else_is_packed(source: Source, wanted: dict[str, str], words: str) -> None:
    assert words in source.pack(code=13, **wanted).err
    assert not list(source.gap.stick.glob("*"))


def test_another_trusted_root(source: Source) -> None:
    (source.gap.folder / "root.json").write_bytes(SigstoreInstance().trusted_root)
    assert "no upstream signature is valid" in source.pack(code=13).err
    (source.gap.folder / "root.json").write_bytes(b"{}")
    assert "not a Sigstore trusted root" in source.pack(code=10).err
