"""The folder from which k3s, RKE2 and k0s import images: one archive for each image."""

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

from airgap.bundle.bundle_tar import TarFolder
from airgap.bundle.contents import INDEX_FILE, read_index
from airgap.bundle.files import Files, media_errors, write_stream
from airgap.durable import sync_folder
from airgap.endpoints.ports import FolderTarget, PresentImage
from airgap.errors import AirgapError, EndpointError, UsageError
from airgap.limits import MAX_IMAGES_FOLDER_FILES, MAX_INDEX_BYTES
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from airgap.values import dataclass

_MAX_SLUG = 100


@dataclass(frozen=True, slots=True)
class _Distribution:
    """A distribution: its usual folder, whether it accepts sparse indexes, and how to make it import."""

    folder: str
    signs: tuple[str, ...]
    """Files and folders of which at least one exists if the distribution is installed."""
    takes_sparse: bool
    hint: str


_AT_ONCE = "and immediately from 1.29.13, 1.30.9, 1.31.5 and 1.32 on"
DISTRIBUTIONS = {
    "k3s": _Distribution(
        "/var/lib/rancher/k3s/agent/images",
        ("/var/lib/rancher/k3s", "/usr/local/bin/k3s", "/usr/bin/k3s", "/etc/rancher/k3s"),
        takes_sparse=False,
        hint=f"k3s imports it when it starts, {_AT_ONCE}; otherwise: systemctl restart k3s (or k3s-agent)",
    ),
    "rke2": _Distribution(
        "/var/lib/rancher/rke2/agent/images",
        ("/var/lib/rancher/rke2", "/usr/local/bin/rke2", "/usr/bin/rke2", "/etc/rancher/rke2"),
        takes_sparse=False,
        hint=f"RKE2 imports it when it starts, {_AT_ONCE}; "
        "otherwise: systemctl restart rke2-server (or rke2-agent)",
    ),
    "k0s": _Distribution(
        "/var/lib/k0s/images",
        ("/var/lib/k0s", "/usr/local/bin/k0s", "/usr/bin/k0s", "/etc/k0s"),
        takes_sparse=True,
        hint="k0s imports it when it starts, and new versions of k0s within seconds; otherwise: "
        "systemctl restart k0sworker (or k0scontroller)",
    ),
}


def _in_archive(path: Path) -> Iterator[PresentImage]:
    try:
        with TarFolder(path) as files:
            index = read_index(files.read(INDEX_FILE, MAX_INDEX_BYTES))
    except AirgapError:
        yield PresentImage(None, path.name, None)
        return
    for name, entry in index.items():
        yield PresentImage(name, str(name), entry.digest)


class ImagesFolder(FolderTarget):
    """The folder of one distribution.

    `endpoint` is `k3s`, `rke2` or `k0s`, alone or with a colon and another folder.
    """

    def __init__(self, endpoint: str) -> None:
        kind, colon, folder = endpoint.partition(":")
        if kind not in DISTRIBUTIONS or bool(colon) != bool(folder):
            raise UsageError("not an images folder", want="k3s[:DIR], rke2[:DIR] or k0s[:DIR]", got=endpoint)
        self._endpoint = endpoint
        self._kind = DISTRIBUTIONS[kind]
        self._given = bool(folder)
        self._folder = Path(folder or self._kind.folder)
        self.takes_sparse = self._kind.takes_sparse
        self.hint = f"{self._folder}: {self._kind.hint}"

    def refuse_absent(self, exists: Callable[[str], bool] = os.path.exists) -> None:
        """Raise `UsageError` for the usual folder of a distribution that is not installed here: no program
        would load the archives.
        """
        if self._given or any(exists(sign) for sign in self._kind.signs):
            return
        raise UsageError(
            f"{self._endpoint} is not installed here",
            want=" or ".join(self._kind.signs),
            hint=f"if it is installed later, or uses another data folder, name the folder: "
            f"--to {self._endpoint}:{self._folder}",
        )

    @property
    def name(self) -> str:
        return self._endpoint

    def open_archive(self, reference: ImageReference) -> AbstractContextManager[Files]:
        return TarFolder(self.path_of(reference))

    def put_archive(self, reference: ImageReference, tar: Iterable[bytes]) -> None:
        write_stream(self.path_of(reference), tar)

    def remove_name(self, reference: ImageReference, digest: Digest) -> None:  # noqa: ARG002
        """Remove the archive of that name. What was imported from it stays in the node."""
        path = self.path_of(reference)
        with media_errors("cannot remove", path):
            path.unlink(missing_ok=True)
            sync_folder(self._folder)

    def present(self) -> Iterator[PresentImage]:
        """A file that is not an archive in OCI form, such as a compressed one, counts as an image that cannot
        be read.
        """
        with media_errors("cannot list", self._folder), os.scandir(self._folder) as entries:
            names = [
                entry.name for entry, _ in zip(entries, range(MAX_IMAGES_FOLDER_FILES + 1), strict=False)
            ]
        if len(names) > MAX_IMAGES_FOLDER_FILES:
            raise EndpointError(
                "too many files", subject=self._folder, want=f"at most {MAX_IMAGES_FOLDER_FILES:,}"
            )
        for name in sorted(names):
            yield from _in_archive(self._folder / name)

    def path_of(self, reference: ImageReference) -> Path:
        """Return the same path for the same name, valid on FAT, and a different one for each other name,
        however long or similar.
        """
        name = str(reference)
        slug = re.sub(r"[^a-z0-9.-]+", "_", name.lower())[:_MAX_SLUG].rstrip("._-")
        return self._folder / f"{slug}-{hashlib.sha256(name.encode()).hexdigest()[:12]}.tar"
