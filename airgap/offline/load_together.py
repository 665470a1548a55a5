"""Loads in which no name moves before every image is at the target (`load --all-or-nothing`).

The content of all images comes first, then all names: in an OCI folder in one step, elsewhere one after the
other. If the content of one image fails, no name moves. If a name is refused, those that have moved are given
back to the images that had them.
"""

from collections.abc import Sequence

from airgap.errors import AirgapError, WithheldError
from airgap.oci.digest import Advance
from airgap.offline.loader import FAILED, LOADED, SKIPPED, LoadedImage, TogetherLoader


def load_together(loader: TogetherLoader, todo: Sequence[LoadedImage], advance: Advance) -> None:
    """Load all of `todo`, or set the verdict of each to failed.

    The image that failed has its own error; the others have a `WithheldError`.
    """
    try:
        ordered = loader.load_content(todo, advance)
        if any(result.verdict == FAILED for result in todo):
            withhold(todo)
        else:
            _give_names(loader, ordered)
    finally:
        loader.drop_temporary(todo)


def _give_names(loader: TogetherLoader, todo: Sequence[LoadedImage]) -> None:
    moved: list[LoadedImage] = []
    try:
        with loader.all_names():
            for result in todo:
                moved.append(result)
                result.after = loader.give_name(result)
    except AirgapError as error:
        moved[-1].verdict, moved[-1].error = FAILED, error
        _take_back(loader, moved)
        withhold(todo)
    except BaseException:  # only the main thread receives Ctrl-C
        _take_back(loader, moved)
        raise


def _take_back(loader: TogetherLoader, moved: Sequence[LoadedImage]) -> None:
    for result in reversed(moved):
        loader.take_back(result)
        result.after = result.before


def withhold(results: Sequence[LoadedImage]) -> None:
    """Set the verdict of images that could be loaded to failed: their names stay as they were."""
    for result in results:
        if result.verdict == LOADED:
            result.verdict, result.after = FAILED, result.before
            result.error = WithheldError("not named, because another image failed", subject=result.image.name)


def withhold_files(results: Sequence[LoadedImage]) -> None:
    """Set the verdict of files that an engine skipped to failed: they are not written into a folder."""
    for result in results:
        if result.verdict == SKIPPED and result.image.record.files:
            result.verdict, result.reason = FAILED, None
            result.error = WithheldError("not written, because an image failed", subject=result.image.name)
