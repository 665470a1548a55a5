"""Writes the files of a bundle into a folder."""

import contextlib
from collections.abc import Sequence
from dataclasses import replace

from airgap.carry.verify_small_files import VerifiedImage
from airgap.endpoints.ports import FilesTarget
from airgap.errors import AirgapError, FormatError, PolicyError
from airgap.oci.digest import Advance, Digest
from airgap.oci.documents import Descriptor
from airgap.oci.files_artifact import CarriedFile, FileState, check_file_names
from airgap.offline.chart_archive import archive_of
from airgap.offline.loader import FAILED, LOADED, PLACED, SKIPPED, THERE, ConflictRule, LoadedImage, Loading
from airgap.values import dataclass

_NOT_FILES = "neither files nor a chart; --to names a target for images"
_PRESENT = (FileState.SAME, FileState.OTHER_MODE)


@dataclass(frozen=True, slots=True)
class FilesLoader:
    """A `Loader` over a `FilesTarget`. An artifact is there if all its files are."""

    target: FilesTarget
    loading: Loading

    def look(self, image: VerifiedImage) -> LoadedImage:
        """See `Loader`. Raises `PolicyError` if a different file must not be replaced."""
        try:
            files = self._files(image)
        except FormatError as error:
            return LoadedImage(image, FAILED, error=error)
        if not files:
            return LoadedImage(image, SKIPPED, reason=_NOT_FILES)
        states = {carried: self.target.state_of(carried) for carried in files}
        for carried, state in states.items():
            if state is FileState.DIFFERENT and not self._may_replace:
                raise _conflict(self.target, carried)
        if all(state is FileState.SAME for state in states.values()):
            return LoadedImage(image, THERE, before=image.record.digest, after=image.record.digest)
        return LoadedImage(image, LOADED)

    def missing(self, image: VerifiedImage) -> list[Descriptor]:
        """See `Loader`: a file that the bundle leaves out must be in the folder already."""
        return [
            carried.layer
            for carried in self._files(image)
            if carried.digest in self.loading.required and self.target.state_of(carried) not in _PRESENT
        ]

    def total(self, todo: Sequence[LoadedImage]) -> int:
        return sum(carried.size for result in todo for carried in self._files(result.image))

    def load_all(self, todo: Sequence[LoadedImage], advance: Advance) -> None:
        for result in todo:
            try:
                for carried in self._files(result.image):
                    self._place(carried)
                    advance(carried.size)
                result.verdict, result.after = PLACED, result.image.record.digest
            except AirgapError as error:
                result.verdict, result.error = FAILED, error

    def now(self, result: LoadedImage, wanted: Digest) -> Digest | None:
        states = map(self.target.state_of, self._files(result.image))
        return wanted if all(state in _PRESENT for state in states) else None

    def refuse_same_names(self) -> None:
        """Raise `AmbiguousError` if a chart and a file, or two charts, would have one name in the folder. A
        chart whose name cannot be that of a file fails alone (`look`).
        """
        contents: dict[tuple[str, Digest], None] = {}
        for image in self.loading.bundle.images:
            with contextlib.suppress(FormatError):
                contents |= {(carried.name, carried.digest): None for carried in self._files(image)}
        check_file_names((name for name, _ in contents), self.target.name)

    def _files(self, image: VerifiedImage) -> tuple[CarriedFile, ...]:
        """Return what the folder takes of an image: its files, or the archive of a chart."""
        return image.record.files or archive_of(image, self.loading.bundle)

    @property
    def _may_replace(self) -> bool:
        return self.loading.files_conflict is ConflictRule.REPLACE

    def _place(self, carried: CarriedFile) -> None:
        state = self.target.state_of(carried)
        if state is FileState.SAME or (
            state is FileState.OTHER_MODE and carried.digest in self.loading.required
        ):
            return
        with self.loading.bundle.open_blob(carried.layer) as stream:
            self.target.put_file(carried, stream, replace=self._may_replace)


def _conflict(target: FilesTarget, carried: CarriedFile) -> PolicyError:
    return PolicyError(
        "a different file has this name",
        subject=f"{target.name}/{carried.name}",
        want=carried.digest,
        hint="move it away, or replace it with --on-conflict replace; nothing was changed",
    )


def with_files(
    results: Sequence[LoadedImage], placed: Sequence[LoadedImage], folder: str
) -> list[LoadedImage]:
    """Return the results of a load into a target, with those of a folder that took the files of the same
    images in the same order.
    """
    return [_merged(result, other, folder) for result, other in zip(results, placed, strict=True)]


def _merged(result: LoadedImage, other: LoadedImage, folder: str) -> LoadedImage:
    if SKIPPED in (other.verdict, result.verdict) and other.verdict != FAILED:
        return result if other.verdict == SKIPPED else replace(other, reason=f"in {folder}")
    if result.verdict == FAILED:
        return result
    if other.verdict == FAILED:
        return replace(result, verdict=FAILED, error=other.error)
    return replace(result, reason=f"also in {folder}")
