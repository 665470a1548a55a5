"""Vendors that send to the plant besides the headquarters."""

from collections.abc import Callable
from pathlib import Path

from tests.cli.conftest import Done, Gap, Side
from tests.support.images import simple_image, write_layout

Load = Callable[..., Done]
"""Loads a bundle at the plant."""


def manifest(side: Side, name: str, text: str) -> Path:
    """A manifest of one image of this name, in the stream `stack` that all senders use."""
    folder = side.home.parent / f"{side.home.name}-source"
    folder.mkdir(exist_ok=True)
    write_layout(folder / "images", {f"{name}:1": simple_image(text)})
    path = folder / "stack.yaml"
    path.write_text(f"version: 1\nname: stack\nimages:\n  - {{oci: images, ref: '{name}:1'}}\n")
    return path


class Vendor:
    """A sending side that the plant need not know."""

    def __init__(self, gap: Gap, name: str) -> None:
        self.name, self.host = name, f"registry.{name}"
        self.side = Side(gap.folder / f"{name}-home", gap.online.capture)
        self.side("init", "--site", name, "--owner", name)
        self.stick = gap.folder / f"{name}-stick"
        self.fingerprint = self.side("trust", "show", "--json").json["fingerprint"]

    def pack(self, text: str, name: str = "app") -> Path:
        path = manifest(self.side, f"{self.host}/{name}", text)
        done = self.side("pack", path, "--to", self.stick, "--json").json
        return Path(done["bundle"])

    @property
    def install(self) -> tuple[object, ...]:
        """The words that add this sender."""
        root = self.side.home / "trust" / "1.root.json"
        return ("trust", "install", root, "--sender", self.name, "--fingerprint", self.fingerprint)

    @property
    def names(self) -> tuple[str, str]:
        return ("--names", f"{self.host}/*")


def marks(gap: Gap) -> dict[str, int]:
    senders = gap.offline("trust", "list", "--json").json["senders"]
    return {item["sender_name"]: mark["serial"] for item in senders for mark in item["streams"]}
