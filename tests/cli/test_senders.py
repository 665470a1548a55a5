"""A plant that gets bundles of its headquarters and of two vendors, each with its own trust root."""

from collections.abc import Callable
from pathlib import Path

import pytest

from airgap.site import Site
from tests.cli.conftest import Done, Gap, Side
from tests.support.images import simple_image, write_layout


def manifest(side: Side, host: str, text: str) -> Path:
    """A manifest of one image at `host`, in the stream `stack` that all senders use."""
    folder = side.home.parent / f"{side.home.name}-source"
    folder.mkdir(exist_ok=True)
    write_layout(folder / "images", {f"{host}/app:1": simple_image(text)})
    path = folder / "stack.yaml"
    path.write_text(f"version: 1\nname: stack\nimages:\n  - {{oci: images, ref: '{host}/app:1'}}\n")
    return path


class Vendor:
    """A sending side that the plant need not know."""

    def __init__(self, gap: Gap, name: str) -> None:
        self.name, self.host = name, f"registry.{name}"
        self.side = Side(gap.folder / f"{name}-home", gap.online.capture)
        self.side("init", "--site", name, "--owner", name)
        self.stick = gap.folder / f"{name}-stick"
        self.fingerprint = self.side("trust", "show", "--json").json["fingerprint"]

    def pack(self, text: str) -> Path:
        done = self.side("pack", manifest(self.side, self.host, text), "--to", self.stick, "--json").json
        return Path(done["bundle"])

    @property
    def install(self) -> tuple[object, ...]:
        """The words that add this sender."""
        root = self.side.home / "trust" / "1.root.json"
        return ("trust", "install", root, "--sender", self.name, "--fingerprint", self.fingerprint)

    @property
    def names(self) -> tuple[str, str]:
        return ("--names", f"{self.host}/*")


@pytest.fixture
def acme(gap: Gap) -> Vendor:
    vendor = Vendor(gap, "acme")
    gap.offline(*vendor.install, *vendor.names)
    return vendor


@pytest.fixture
def volt(gap: Gap) -> Vendor:
    vendor = Vendor(gap, "volt")
    gap.offline(*vendor.install, *vendor.names)
    return vendor


Load = Callable[..., Done]


@pytest.fixture
def load(gap: Gap) -> Load:
    def run(bundle: Path, *words: object, code: int = 0) -> Done:
        return gap.offline("load", bundle, "--to", f"oci:{gap.folder / 'target'}", *words, code=code)

    return run


def marks(gap: Gap) -> dict[str, int]:
    senders = gap.offline("trust", "list", "--json").json["senders"]
    return {item["sender_name"]: mark["serial"] for item in senders for mark in item["streams"]}


def test_three_senders_use_one_stream_and_the_same_serials(
    gap: Gap, acme: Vendor, volt: Vendor, load: Load
) -> None:
    own = gap.pack()
    first, other = acme.pack("acme 1"), volt.pack("volt 1")
    for bundle, sender in ((own, "default"), (first, "acme"), (other, "volt")):
        assert f"good: stack-0001 of {sender}, " in gap.offline("verify", bundle).out
        done = load(bundle, "--json").json
        assert done["sender_name"] == sender
    second = acme.pack("acme 2")
    load(second)
    assert marks(gap) == {"default": 1, "acme": 2, "volt": 1}
    refused = load(first, code=14)
    assert "older than the last accepted" in refused.err
    assert gap.offline.records()[-1]["sender"] == "acme"
    load(other)
    assert "verified as a bundle of volt\n" in gap.offline("inspect", other).out
    assert len(list((gap.offline.home / "receipts").glob("*.receipt.json"))) == 5


def test_bundles_of_several_senders_are_loaded_with_one_command(
    gap: Gap, acme: Vendor, load: Load
) -> None:
    bundles = [gap.pack(), acme.pack("a"), acme.pack("b")]
    done = gap.offline("load", *bundles, "--to", f"oci:{gap.folder / 'target'}", "--json").json
    assert [item["sender_name"] for item in done["bundles"]] == ["default", "acme", "acme"]
    assert marks(gap) == {"default": 1, "acme": 2}
