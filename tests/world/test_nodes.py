"""Cluster nodes: what their runtimes look for, and where they keep it. tests/e2e/test_world_nodes.py has real ones."""

from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from airgap.bundle.bundle_tar import TarFolder
from airgap.bundle.contents import INDEX_FILE, read_index
from airgap.bundle.files import Folder
from airgap.carry.verify import verify
from airgap.endpoints.containerd import Containerd
from airgap.endpoints.containerd.ctr import find_program, find_socket
from airgap.endpoints.images_folder import DISTRIBUTIONS, ImagesFolder
from airgap.errors import UnavailableError, UsageError
from airgap.limits import MAX_INDEX_BYTES
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from airgap.offline.load import load
from airgap.offline.load_bundle import load_bundle
from airgap.offline.loader import FAILED, LOADED, PLACED, THERE, LoadedImage, Loading
from airgap.online.delta_base import read_bases
from airgap.progress import Silent
from airgap.site import Site
from tests.cli.conftest import Gap as Cli
from tests.cli.conftest import gap as _gap
from tests.cli.conftest import passphrase as _passphrase
from tests.support.bundles import Gap, make_gap
from tests.support.images import simple_image
from tests.support.memory import MemoryEngine, MemoryStaging
from tests.unit.endpoints.test_containerd import LS, FakeCtr
from tests.unit.endpoints.test_containerd import row as line
from tests.world.table import Kind, row

gap, passphrase = _gap, _passphrase

APP = simple_image("app")
DIGEST = APP.descriptor.digest
BOTH = f"ghcr.io/acme/app:1@{DIGEST}"
TAGGED, PINNED = "ghcr.io/acme/app:1", f"ghcr.io/acme/app@{DIGEST}"


def pinned(folder: Path) -> Gap:
    """A bundle of an image that was asked for by its tag and its digest."""
    made = make_gap(folder, images={TAGGED: APP})
    [record] = made.statement.images
    made.restate(images=(replace(record, reference=ImageReference.parse(BOTH)),))
    return made


def go(made: Gap, target: object) -> list[LoadedImage]:
    with Folder(made.bundle) as folder:
        return load(target, Loading(verify(folder, made.receiver()), Silent()))  # type: ignore[arg-type]


@row(
    Kind.NODES,
    "Kubernetes, containerd's CRI plugin",
    "Looks for `repo@sha256:…` when a pod names tag and digest",
    "kubernetes-sigs/kind#2734",
    "names an image with both `repo:tag` and `repo@sha256:…`",
)
def test_a_name_with_tag_and_digest_is_two_names(tmp_path: Path) -> None:
    made, target = pinned(tmp_path), MemoryStagingOfBoth()
    [first], [again] = go(made, target), go(made, target)
    assert (first.verdict, again.verdict) == (LOADED, THERE)
    assert target.names == {TAGGED: DIGEST, PINNED: DIGEST}


@dataclass
class MemoryStagingOfBoth(MemoryStaging):
    """Names as containerd's target does."""

    def find(self, reference: ImageReference) -> Digest | None:
        return super().find(replace(reference, digest=None) if reference.tag else reference)

    def tag(self, image_id: Digest, reference: ImageReference) -> None:
        for name in reference.names_of(image_id):
            super().tag(image_id, name)


def test_only_the_missing_name_is_given(tmp_path: Path) -> None:
    """The content is there: nothing is sent."""
    made, target = pinned(tmp_path), MemoryStagingOfBoth()
    go(made, target)
    del target.names[PINNED]
    target.log.clear()
    [result] = go(made, target)
    assert (result.verdict, target.names) == (LOADED, {TAGGED: DIGEST, PINNED: DIGEST})
    assert [each for each in target.log if each.startswith("load")] == []


@row(
    Kind.NODES,
    "RKE2, k3s in 2025",
    "Gives imported images only the names that are in the archive",
    "rancher/rke2#9309",
    "puts both names into the archive's table",
)
@pytest.mark.parametrize("kind", DISTRIBUTIONS)
def test_an_archive_for_a_node_has_both_names(tmp_path: Path, kind: str) -> None:
    made, folder = pinned(tmp_path), tmp_path / "images"
    [first] = go(made, ImagesFolder(f"{kind}:{folder}"))
    [again] = go(made, ImagesFolder(f"{kind}:{folder}"))
    assert (first.verdict, again.verdict) == (PLACED, THERE)
    [archive] = folder.iterdir()
    with TarFolder(archive) as files:
        index = read_index(files.read(INDEX_FILE, MAX_INDEX_BYTES))
    assert {str(name): found.digest for name, found in index.items()} == {TAGGED: DIGEST, PINNED: DIGEST}


# -- pins


@dataclass
class Store(FakeCtr):
    """A namespace: names with their digests and labels."""

    images: dict[str, tuple[Digest, str]] = field(default_factory=dict)

    def run(self, *words: str) -> str:
        super().run(*words)
        if words[:2] == ("images", "ls"):
            rows = [
                line(name, digest, f"1 KiB linux/amd64 {labels}")
                for name, (digest, labels) in self.images.items()
                if f'name=="{name}"' in words[2] and ("labels." not in words[2] or "pinned" in labels)
            ]
            return LS + "".join(rows)
        if words[:2] == ("images", "label"):
            self.images[words[2]] = (self.images[words[2]][0], f"{words[3]}")
        if words[:2] == ("content", "get"):
            return APP.raw.decode()
        return ""


@row(
    Kind.NODES,
    "kubelet",
    "Deletes images that no pod uses when the disk is full, imported ones too",
    "k3s-io/k3s#8781",
    "pins the images that it loads into k8s.io, and reports it; --no-pin does not",
)
@row(
    Kind.NODES,
    "k0s in 2023",
    "Imports archives without a pin",
    "k0sproject/k0s#3389",
    "`--to containerd` pins them",
)
@pytest.mark.parametrize(
    ("endpoint", "pin", "labels"),
    [
        ("containerd", None, 2),
        ("containerd", False, 0),
        ("containerd:moby", None, 0),
        ("containerd:moby", True, 2),
    ],
)
def test_images_are_pinned_where_kubernetes_looks(endpoint: str, pin: bool | None, labels: int) -> None:
    store = Store(images={TAGGED: (DIGEST, "-"), PINNED: (DIGEST, "-")})
    target = Containerd(endpoint, store, pin=pin)
    name = ImageReference.parse(BOTH)
    assert target.is_named(DIGEST, name) is (labels == 0)
    target.tag(DIGEST, name)
    assert [call[3] for call in store.calls if call[1] == "label"] == [
        "io.cri-containerd.pinned=pinned"
    ] * labels
    assert target.is_named(DIGEST, name)
    assert ("--no-pin" in target.remark) is (labels > 0)


def test_a_digest_of_another_image_is_not_a_name_for_it() -> None:
    """As when an old image is put back under a name that has the new one's digest."""
    other = Digest.of(b"other")
    store = Store(images={TAGGED: (other, "-")})
    target = Containerd("containerd:test", store)
    assert target.is_named(other, ImageReference.parse(BOTH))
    target.tag(other, ImageReference.parse(BOTH))
    assert PINNED.encode() not in store.fed[-1]


def test_pins_are_for_containerd_only(gap: Cli) -> None:
    done = gap.offline("load", gap.pack(), "--to", f"oci:{gap.folder}/out", "--pin", code=2)
    assert "--pin and --no-pin need a containerd target" in done.err


# -- entries without a name


@row(
    Kind.NODES,
    "Docker, podman",
    "Keeps no name for a digest without a tag: `<none>:<none>`, which a prune deletes",
    "moby/moby#42664",
    "loads it, and reports that it has no name and how to give it one",
)
def test_a_digest_alone_has_no_name_in_an_engine(tmp_path: Path) -> None:
    made = make_gap(tmp_path, images={PINNED: APP})
    report = load_bundle(made.bundle, made.site, MemoryEngine(), made.now, jobs=1, progress=Silent())
    [result] = report.results
    assert result.verdict == LOADED
    assert "pruning images deletes it; give it a name with `as:` in the manifest" in str(result.reason)


# -- folders


@row(
    Kind.NODES,
    "k3s, RKE2, k0s",
    "Read their images folder only where they are installed",
    'k3s manual, "Air-Gap Install"',
    "refuses `--to k3s` where k3s is not installed; `k3s:DIR` prepares a node for a later installation",
)
@pytest.mark.parametrize("kind", DISTRIBUTIONS)
def test_the_usual_folder_of_what_is_not_installed_is_refused(kind: str) -> None:
    with pytest.raises(UsageError, match=f"{kind} is not installed here") as caught:
        ImagesFolder(kind).refuse_absent(lambda _: False)
    assert f"--to {kind}:{DISTRIBUTIONS[kind].folder}" in str(caught.value.hint)
    for sign in DISTRIBUTIONS[kind].signs:
        ImagesFolder(kind).refuse_absent(sign.__eq__)
    ImagesFolder(f"{kind}:/srv/images").refuse_absent(lambda _: False)


@row(
    Kind.NODES,
    "k3s",
    "Imports an archive from its folder when it starts, and not when it is placed",
    "k3s-io/k3s#2961",
    "the verdict is `placed`, in table, receipt and ledger; no delta builds on it",
)
def test_what_lies_in_a_folder_is_placed(gap: Cli) -> None:
    folder = gap.folder / "images"
    done = gap.offline("load", gap.pack(), "--to", f"k3s:{folder}", "--json")
    assert {image["verdict"] for image in done.json["images"]} == {"placed"}
    assert {each["verdict"] for each in gap.offline.records()[-1]["effect"]} == {"placed"}
    shown = gap.offline("receipt", "show", done.json["receipt"], "--json").json["receipts"][0]
    assert {image["verdict"] for image in shown["images"]} == {"placed"}
    assert (shown["result"], shown["blobs_held"]) == ("ok", 0)


def test_a_receipt_of_placed_images_leaves_no_content_out(tmp_path: Path) -> None:
    made = make_gap(tmp_path, images={TAGGED: APP})
    target = ImagesFolder(f"k3s:{tmp_path / 'images'}")
    report = load_bundle(made.bundle, made.site, target, made.now, jobs=1, progress=Silent())
    bases = read_bases(Site(tmp_path / "online"), "edge", [str(report.receipt)], made.now, Silent())
    assert bases.held == frozenset()


# -- places


@row(
    Kind.NODES,
    "RHEL and its kin",
    "`sudo` does not look into /usr/local/bin, where k3s and k0s are",
    "k3s-io/k3s#7245",
    "looks for ctr, k3s and k0s there too",
)
@pytest.mark.parametrize("program", ["/usr/local/bin/k3s", "/usr/local/bin/k0s"])
def test_programs_where_sudo_does_not_look(program: str) -> None:
    assert find_program(lambda name: name if name == program else None) == (program, "ctr")


@row(
    Kind.NODES,
    "MicroK8s",
    "Has its socket below /var/snap, and its ctr in the snap",
    "canonical/microk8s-cluster-agent#52",
    "finds both",
)
def test_microk8s() -> None:
    socket, program = "/var/snap/microk8s/common/run/containerd.sock", "/snap/microk8s/current/bin/ctr"
    assert find_socket({}, socket.__eq__) == socket
    assert find_program(lambda name: name if name == program else None) == (program,)


@row(
    Kind.NODES,
    "Canonical Kubernetes (k8s-snap), strictly confined",
    "Has its socket below /var/snap/k8s",
    "canonical/k8s-snap#954",
    "finds it",
)
def test_canonical_kubernetes() -> None:
    socket = "/var/snap/k8s/common/run/containerd/containerd.sock"
    assert find_socket({}, socket.__eq__) == socket


def test_a_missing_ctr_is_reported_with_the_remedy() -> None:
    with pytest.raises(UnavailableError, match="cannot find ctr") as caught:
        find_program(lambda _: None)
    assert "package containerd" in str(caught.value.hint)


# -- bundles that lack images


def test_what_completes_a_partial_bundle_builds_on_it(gap: Cli) -> None:
    api, web = simple_image("api", size=50_000), simple_image("web")
    path = gap.layout(api=api, web=web)
    layer = gap.folder / "source" / web.layers[0].path
    raw = layer.read_bytes()
    layer.write_bytes(b"short")
    gap.online("lock", path)
    first = gap.online("pack", path, "--to", gap.stick, "--allow-partial", "--json", code=3).json
    layer.write_bytes(raw)
    planned = gap.online("plan", path, "--json").json
    done = gap.online("pack", path, "--to", gap.stick, "--json")
    second = done.json
    assert "stack-0001 was sealed without 1 of 2 images: this bundle builds on it" in done.err
    assert (first["serial"], second["serial"]) == (1, 2)
    assert second["requires"] == {"count": 1, "bytes": len(api.contents[api.layers[0]])}
    assert second["bytes"] < 40_000 < first["bytes"]
    assert planned["spared_bytes"] == second["requires"]["bytes"]
    again = gap.online("pack", path, "--to", gap.stick, "--json").json
    assert (again["serial"], again["fresh"]) == (2, False)
    refused = gap.offline("load", gap.stick / "stack-0002", "--to", f"oci:{gap.folder}/out", code=19)
    assert "airgap pack --full" in refused.err
    for bundle in ("stack-0001", "stack-0002"):
        gap.offline("load", gap.stick / bundle, "--to", f"oci:{gap.folder}/out")
    full = gap.online("pack", path, "--to", gap.stick, "--full", "--json").json
    assert (full["serial"], full["requires"]["count"]) == (3, 0)


def test_full_and_since_are_one_too_many(gap: Cli) -> None:
    gap.pack()
    done = gap.online("pack", gap.folder / "stack.yaml", "--to", gap.stick, "--full", "--since", "1", code=2)
    assert "--full excludes --since" in done.err


def test_after_another_lock_nothing_is_left_out(gap: Cli) -> None:
    api, web = simple_image("api"), simple_image("web")
    path = gap.layout(api=api, web=web)
    layer = gap.folder / "source" / web.layers[0].path
    raw = layer.read_bytes()
    layer.write_bytes(b"short")
    gap.online("pack", path, "--to", gap.stick, "--allow-partial", code=3)
    layer.write_bytes(raw)
    gap.layout(api=simple_image("api2"), web=web)
    done = gap.online("pack", path, "--to", gap.stick, "--json")
    assert done.json["requires"]["count"] == 0
    assert FAILED not in done.out
