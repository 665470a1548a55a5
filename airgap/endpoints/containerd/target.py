"""containerd as a target: images are imported under a temporary name, and named after all is proved.

`ctr images import` moves names before it unpacks, and in 1.6 and 1.7 a failed one leaves them moved. So an
image is imported under a name in `airgap.invalid`, inspected, and then named by a second import: of an
archive that has only an index, as the content is already present. That moves a name at once, even to an image
without a name, which no version of `ctr images tag` does.
"""

import contextlib
import os
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from functools import cached_property

from airgap.bundle.contents import INDEX_FILE, OCI_LAYOUT, OCI_LAYOUT_FILE, index_json
from airgap.bundle.tar_entries import END_OF_ARCHIVE, header, padding
from airgap.endpoints.containerd.ctr import Ctr, CtrProgram, find_program, find_socket
from airgap.endpoints.engine_info import EngineInfo
from airgap.endpoints.naming import TEMPORARY, temporary_name
from airgap.endpoints.ports import PresentImage, StagingTarget
from airgap.errors import EndpointError, FormatError, NotFoundError, UsageError
from airgap.oci.digest import Digest
from airgap.oci.documents import OCI_INDEX, OCI_MANIFEST, Descriptor
from airgap.oci.platform import Platform
from airgap.oci.reference import ImageReference, reference_in
from airgap.oci.strict_json import Fields, parse_object

DEFAULT_NAMESPACE = "k8s.io"
"""The namespace that Kubernetes uses."""

PIN = "io.cri-containerd.pinned"
"""The label, with the value `pinned`, of images that the kubelet's garbage collection keeps (containerd 1.7.3
and later, and k3s)."""

_NAMESPACE = re.compile(r"[A-Za-z0-9]+(?:[._-][A-Za-z0-9]+)*", re.ASCII)
_TEMPORARYD = re.compile(rf"{re.escape(TEMPORARY)}/([0-9]{{1,10}}):[0-9a-f]{{64}}", re.ASCII)
_ROW = re.compile(r"(\S+)\s+(\S+)\s+(sha\d+:[0-9a-f]+)\s+(.*)", re.ASCII)


class Containerd(StagingTarget):
    """One namespace of a containerd on this machine.

    `endpoint` is `containerd` or `containerd:NAMESPACE`. With `pin`, names get the label `PIN`; None means
    yes in the namespace of Kubernetes. The socket is that of `CONTAINERD_ADDRESS`, or a usual one. Like `ctr
    images import`, it unpacks images, with `CONTAINERD_SNAPSHOTTER` if that is set, and does not keep content
    of other platforms.
    """

    def __init__(
        self, endpoint: str = "containerd", ctr: Ctr | None = None, *, pin: bool | None = None
    ) -> None:
        kind, colon, namespace = endpoint.partition(":")
        if not colon:
            namespace = DEFAULT_NAMESPACE
        if kind != "containerd" or len(namespace) > 76 or not _NAMESPACE.fullmatch(namespace):
            raise UsageError("not a containerd endpoint", want="containerd[:NAMESPACE]", got=endpoint)
        self._namespace = namespace
        self._given = ctr
        self._pin = namespace == DEFAULT_NAMESPACE if pin is None else pin
        if self._pin:
            self.remark = (
                f"{self.name}: the images are pinned ({PIN}), so that the kubelet's garbage collection keeps "
                "them; --no-pin loads them unpinned"
            )

    @property
    def name(self) -> str:
        return f"containerd:{self._namespace}"

    @cached_property
    def _ctr(self) -> Ctr:
        if self._given is not None:
            return self._given
        words = ("--address", find_socket(), "--namespace", self._namespace)
        return CtrProgram((*find_program(), *words), self.name)

    def _read_info(self) -> EngineInfo:
        _, server, after = self._ctr.run("version").partition("Server:")
        version = re.search(r"Version: +(\S+)", after)
        snapshotter = re.search(
            r"(?m)^io\.containerd\.snapshotter\.v1 +\S+ +([a-z0-9]+/[a-z0-9]+(?:/v[0-9]+)?)\b",
            self._ctr.run("plugins", "ls"),
        )
        if not server or version is None or snapshotter is None:
            raise EndpointError("unreadable answer", subject=self.name, want="its version and platform")
        platform = Platform.parse(snapshotter[1], self.name)
        return EngineInfo(
            platform=platform,
            keeps_index=True,
            zstd_layers=True,
            version=version[1].removeprefix("v"),
            one_platform=True,
        )

    def find(self, reference: ImageReference) -> Digest | None:
        """Return the image ID; for a reference with tag and digest, that of the tag."""
        return self._meaning(reference.kept)

    def _meaning(self, name: ImageReference, *filters: str) -> Digest | None:
        rows = self._rows("ls", ",".join((f'name=="{name}"', *filters)))
        return next((digest for stored, digest, _ in rows if stored == str(name)), None)

    def is_named(self, image_id: Digest, reference: ImageReference) -> bool:
        filters = (f'labels."{PIN}"==pinned',) if self._pin else ()
        return all(self._meaning(name, *filters) == image_id for name in reference.names_of(image_id))

    def layer_chains(self) -> frozenset[Digest]:
        return frozenset()

    def find_id(self, image_id: Digest, manifests: Collection[Digest] = ()) -> bool:  # noqa: ARG002
        """Return whether the image has all content of this machine's platform."""
        rows = self._rows("check", f"target.digest=={image_id}")
        return any(digest == image_id and state.startswith("complete ") for _, digest, state in rows)

    def present(self) -> Iterator[PresentImage]:
        """Names that airgap itself gives while it loads are left out."""
        for name, digest, _ in self._rows("ls"):
            if not name.startswith(f"{TEMPORARY}/"):
                yield PresentImage(reference_in(name), name, digest)

    def load(self, tar: Iterable[bytes]) -> None:
        self._ctr.feed(tar, "images", "import", "-")

    def tag(self, image_id: Digest, reference: ImageReference) -> None:
        """Name the image, also by digest without a tag, because Kubernetes looks for such names. In 2.x, a
        name that moves loses its labels.
        """
        names = reference.names_of(image_id)
        self.load(_table(self._describe(image_id), names))
        for name in names if self._pin else ():
            self._ctr.run("images", "label", str(name), f"{PIN}=pinned")

    def untag(self, reference: ImageReference) -> None:
        for name in reference.names_of(reference.digest) if reference.digest else (reference,):
            if self._meaning(name) is not None:
                self._ctr.run("images", "rm", str(name))

    def remove_name(self, reference: ImageReference, digest: Digest) -> None:
        """See `_Target`. Kubernetes knows an image by several names, so containers of each are looked for."""
        names = {name for name, other, _ in self._rows("ls") if other == digest} | {str(reference)}
        head, *lines = self._ctr.run("containers", "ls").splitlines() or [""]
        rows = [line.split() for line in lines]
        if not head.startswith("CONTAINER ") or any(len(row) < 2 for row in rows):
            raise EndpointError("unreadable answer", subject=self.name, want="a table of containers")
        if any(row[1] in names for row in rows):
            raise EndpointError("a container uses the image", subject=reference, got=digest)
        self.untag(reference)

    def stage(self, image_id: Digest) -> ImageReference:
        return temporary_name(image_id)

    def sweep(self) -> None:
        for name, _, _ in self._rows("ls", f'name~="^{TEMPORARY}/"'):
            match = _TEMPORARYD.fullmatch(name)
            if match and (int(match[1]) == os.getpid() or not _alive(int(match[1]))):
                self._ctr.run("images", "rm", name)

    def _rows(self, command: str, *filters: str) -> Iterator[tuple[str, Digest, str]]:
        """Yield name, digest, and the rest of the row, of each image that matches one of the filters."""
        lines = self._ctr.run("images", command, *filters).splitlines()
        if lines and not lines[0].startswith("REF "):
            raise EndpointError(
                "unreadable answer", subject=self.name, want="a table", got=repr(lines[0][:80])
            )
        for line in lines[1:]:
            match = _ROW.fullmatch(line)
            if match is None:
                raise EndpointError(
                    "unreadable answer", subject=self.name, want="an image", got=repr(line[:200])
                )
            with contextlib.suppress(FormatError):  # of an unsupported algorithm
                yield match[1], Digest.parse(match[3]), match[4]

    def _describe(self, image_id: Digest) -> Descriptor:
        raw = self._ctr.run("content", "get", str(image_id)).encode()
        try:
            fields = Fields(parse_object(raw, str(image_id)), str(image_id))
            kind = fields.optional_text("mediaType")
        except FormatError as error:
            raise NotFoundError("no such image", subject=f"{self.name}: {image_id}", got=error) from error
        return Descriptor(
            kind or (OCI_INDEX if fields.has("manifests") else OCI_MANIFEST), image_id, len(raw)
        )


def _table(descriptor: Descriptor, names: Sequence[ImageReference]) -> Iterator[bytes]:
    """Return an archive that names content and does not contain it."""
    index = index_json([(name, descriptor) for name in names])
    files = {OCI_LAYOUT_FILE: OCI_LAYOUT, INDEX_FILE: index}
    for name, raw in files.items():
        yield header(name, len(raw)) + raw + padding(len(raw))
    yield END_OF_ARCHIVE


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True
