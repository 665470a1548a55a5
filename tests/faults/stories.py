"""The stories: a command of airgap, what is there before, and what the targets say before and after."""

import shutil

from airgap.site import Site
from airgap.trust.keys import PublicKey
from tests.faults.load_stories import LOAD_STORIES
from tests.faults.ptrace import Fault
from tests.faults.site_stories import SITE_STORIES
from tests.faults.story import LOAD, NEW, OLD, PACK, Story, sealed
from tests.faults.world import ONE, World, fault_images, old_images
from tests.support.images import write_layout

_VOLUMES = "4MiB"
_LARGE = 4_600_000
"""Bytes of a layer that one such volume cannot take."""


_PACK_VOLUMES = (*PACK, "--volume-size", _VOLUMES)
_RECEIVE = (
    "receive",
    "{run}/stick/edge-0001.v1",
    "{run}/stick/edge-0001.v2",
    "--into",
    "{run}/into",
    "--quiet",
)
_REPACK = ("repack", "{run}/stick/edge-0001", "--to", "{run}/cut", "--volume-size", _VOLUMES, "--quiet")
_REPAIR = ("repair", "{run}/stick/edge-0001", "--from", "{run}/copy/edge-0001", "--quiet")


_SSH = (
    "--identity",
    "{key}",
    "--known-hosts",
    "{known}",
    "--ssh-config",
    "/dev/null",
    "--reconnect",
    "0",
    "--quiet",
)
_TRUST_ADD = (
    "trust",
    "add",
    "bob",
    "--key",
    "{run}/hq/keys/bob.pub",
    "--keyid",
    "{keyid}",
    "--role",
    "root",
    "--role",
    "release",
    "--quiet",
)
_TRUST_SIGN = ("trust", "sign", "{run}/4.root.proposal.json", "--signer", "bob", "--yes", "--quiet")
_SEND = ("send", "{run}/stick/edge-0001", "{far}", *_SSH)


def _nothing(world: World) -> None:
    world.begin()


def _half(world: World) -> None:
    """A pack that was killed in the middle of the large layer, and, before that, some blobs written."""
    world.begin()
    done = world.traced(world.online, PACK, ("write",))
    large = [number for number, call in enumerate(done.calls, 1) if call.endswith(".part")]
    world.begin()
    world.traced(world.online, PACK, ("write",), Fault(("write",), "kill", large[len(large) // 2]))
    assert list(world.bundle.rglob("*.part"))


def _volumes(world: World) -> None:
    world.begin(fault_images(_LARGE))


def _cut(world: World) -> None:
    _volumes(world)
    world.must(world.online, *_PACK_VOLUMES)


def _half_received(world: World) -> None:
    _cut(world)
    done = world.traced(world.offline, _RECEIVE, ("write",))
    large = [number for number, call in enumerate(done.calls, 1) if call.endswith(".part")]
    shutil.rmtree(world.folder / "into")
    fault = Fault(("write",), "kill", large[len(large) // 2])
    world.traced(world.offline, _RECEIVE, ("write",), fault)


def _large_sealed(world: World) -> None:
    _volumes(world)
    world.must(world.online, *PACK)


def _damaged(world: World) -> None:
    """A copy with a byte turned over in the large layer, and without a config."""
    sealed(world)
    shutil.copytree(world.bundle, world.folder / "copy" / "edge-0001")
    blobs = sorted((world.bundle / "blobs" / "sha256").iterdir(), key=lambda path: path.stat().st_size)
    raw = bytearray(blobs[-1].read_bytes())
    raw[len(raw) // 2] ^= 1
    blobs[-1].write_bytes(raw)
    blobs[2].unlink()


def _before_load(world: World) -> None:
    """A sealed bundle, and a target that has two old images, one under a name that will move."""
    sealed(world)
    write_layout(world.target, old_images())


def _before_images_folder(world: World) -> None:
    """As k3s finds it: the old images came by an earlier load."""
    world.begin(old_images())
    world.must(world.online, *PACK)
    world.must(world.offline, *LOAD, "k3s:{run}/target")
    shutil.move(world.target, world.work / "old-target")
    sealed(world)
    shutil.move(world.work / "old-target", world.target)


def _before_archive(world: World) -> None:
    sealed(world)


def _before_back(world: World) -> None:
    """Two bundles were loaded; the second moved a name of the first."""
    sealed(world)
    world.must(world.offline, *LOAD, "oci:{run}/target")
    shutil.rmtree(world.folder / "source")
    write_layout(world.folder / "source", old_images())
    world.must(world.online, *PACK)
    world.must(world.offline, "load", "{run}/stick/edge-0002", "--to", "oci:{run}/target")
    for path in (world.offline / "receipts", world.offline / "holdings", world.folder / "stick" / "receipts"):
        shutil.rmtree(path)  # they say what was at the target before


def _before_send(world: World) -> None:
    sealed(world)
    (world.folder / "far").mkdir()


def _second_key(world: World) -> None:
    """A second person with a key at the sending side, which no root has yet."""
    world.begin()
    world.must(world.online, "key", "generate", "bob")
    world.extra["keyid"] = Site(world.online).public_keys()["bob"].keyid


def _two_people(world: World) -> None:
    _second_key(world)
    world.must(world.online, *_TRUST_ADD)


def _waiting_for_signature(world: World) -> None:
    """A bundle that one of two people has signed."""
    _two_people(world)
    world.must(world.online, "trust", "threshold", "release", "2")
    world.must(world.online, *PACK, "--key", "alice")


def _proposed(world: World) -> None:
    """A root that one of two people has signed."""
    _two_people(world)
    world.must(world.online, "trust", "threshold", "root", "2")
    proposal = ("--signer", "alice", "--proposal", "{run}/4.root.proposal.json")
    world.must(world.online, "trust", "rotate", "--days", "600", *proposal)


def _next_root(world: World) -> None:
    """A newer root at the sending side."""
    _two_people(world)


def _came_back(world: World) -> None:
    """A receipt of a site that the root knows."""
    sealed(world)
    raw = (world.offline / "site.pub").read_bytes()
    world.extra["keyid"] = PublicKey.from_pem(raw, "site.pub").keyid
    key = ("--key", "{run}/plant/site.pub", "--keyid", "{keyid}")
    world.must(world.online, "trust", "add-site", "plant-7", *key)
    world.must(world.offline, *LOAD, "oci:{run}/target")
    world.extra["receipt"] = str(next((world.offline / "receipts").glob("*.receipt.json")))


STORIES = {
    story.name: story
    for story in (
        Story("pack", "pack from an OCI layout, read back", (*PACK, "--read-back"), _nothing, online=True),
        Story("resume", "pack over a bundle that a kill left half done", PACK, _half, online=True),
        Story("volumes", "pack cut over two volumes", _PACK_VOLUMES, _volumes, online=True),
        Story("tar", "pack into one tar", (*PACK, "--tar", "--read-back"), _nothing, online=True),
        Story("receive", "receive from two volumes", _RECEIVE, _cut),
        Story("receive-half", "receive over what a kill left half done", _RECEIVE, _half_received),
        Story("repack", "repack a bundle into two volumes", _REPACK, _large_sealed),
        Story("repair", "repair a damaged copy from another", _REPAIR, _damaged),
        Story(
            "load-layout",
            "load into an OCI layout that has old images",
            (*LOAD, "oci:{run}/target"),
            _before_load,
            loads=True,
            old=OLD,
            new=NEW,
        ),
        Story(
            "load-back",
            "go back to the bundle before the last one",
            (*LOAD, "oci:{run}/target", "--back", "--reason", "CHG-7"),
            _before_back,
            loads=True,
            old=NEW | OLD,
            new=NEW,
        ),
        Story(
            "load-folder",
            "load into an images folder (k3s) that has old images",
            (*LOAD, "k3s:{run}/target"),
            _before_images_folder,
            loads=True,
            old=OLD,
            new=NEW,
        ),
        Story(
            "load-archive",
            "load into an archive file",
            (*LOAD, "archive:{run}/images.tar"),
            _before_archive,
            loads=True,
            new=NEW,
        ),
        Story(
            "load-registry",
            "load into a registry that has old images",
            (*LOAD, "registry:{registry}"),
            sealed,
            loads=True,
            old=OLD,
            new=NEW,
            registry=True,
        ),
        Story(
            "sign",
            "add the second person's signature",
            ("sign", "{run}/stick/edge-0001", "--key", "bob", "--yes", "--quiet"),
            _waiting_for_signature,
            online=True,
            signs=True,
        ),
        Story("trust-add", "let a second person sign", _TRUST_ADD, _second_key, online=True, again=2),
        Story("trust-sign", "complete a proposed trust root", _TRUST_SIGN, _proposed, online=True),
        Story(
            "trust-install",
            "install the next trust root at the receiving side",
            ("trust", "install", "{run}/hq/trust/2.root.json", "--quiet"),
            _next_root,
        ),
        Story(
            "receipt-import",
            "take in a receipt that came back",
            ("receipt", "import", "{receipt}", "--quiet"),
            _came_back,
            online=True,
        ),
        Story("send", "send to a host over SSH", _SEND, _before_send, online=True, far=True),
        *SITE_STORIES,
        *LOAD_STORIES,
    )
}
assert ONE in NEW
assert ONE in OLD
