"""What the tests of the installer share."""

from pathlib import Path

from airgap.kit import install as installer
from airgap.online.kit import KitOrder, make_kit
from airgap.progress import Silent
from airgap.site import Site
from tests.support.kits import NOW, SECRET, here

SUMS = "SHA256SUMS"
UNLISTED = {SUMS, "statement.json", "kit.dsse.json"}


def again(place: Path, **order: object) -> None:
    """Make the kit anew in its place."""
    site = Site(place / "home")
    signer = site.signing_key(None, lambda: SECRET)
    usual = {
        "to": place / "stick",
        "targets": here(),
        "signer": signer,
        "now": NOW,
        "wheels": place / "wheels",
    }
    make_kit(site, KitOrder(**(usual | order)), Silent())


def resum(kit: Path) -> None:
    """What somebody does who changes files and knows of SHA256SUMS."""
    names = sorted(path.relative_to(kit).as_posix() for path in kit.rglob("*") if path.is_file())
    kept = [name for name in names if name not in UNLISTED and not name.startswith("sig/")]
    (kit / SUMS).write_text("".join(f"{installer._sha256(kit / name)}  {name}\n" for name in kept))


def change_wheel(kit: Path) -> None:
    path = next(kit.glob("wheels/rich-*"))
    path.write_bytes(path.read_bytes() + b"x")
