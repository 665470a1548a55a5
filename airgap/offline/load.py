"""Load a verified bundle's images into a target. No existing name changes before its content is proved."""

import contextlib
import threading
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import cache
from typing import assert_never

from airgap.audit.receipt import PRESENT
from airgap.bundle.graph import PREFERRED
from airgap.carry.receiver import BACK_HINT
from airgap.carry.verify_small_files import VerifiedImage
from airgap.endpoints.ports import (
    ContentTarget,
    EngineTarget,
    FilesTarget,
    FileTarget,
    FolderTarget,
    RegistryTarget,
    Target,
)
from airgap.errors import (
    AirgapError,
    EndpointError,
    IncompleteError,
    MediaError,
    MissingContentError,
    PolicyError,
    RollbackError,
    UsageError,
)
from airgap.oci.digest import Advance, Digest
from airgap.oci.referrers import fallback_tag
from airgap.offline.engine_image import runnable
from airgap.offline.image_tar import ImageTar
from airgap.offline.load_content import ContentLoader
from airgap.offline.load_engine import EngineLoader
from airgap.offline.load_folder import FolderLoader
from airgap.offline.load_older import explain_missing_names, nameless
from airgap.offline.load_together import load_together, withhold, withhold_files
from airgap.offline.loader import (
    FAILED,
    LOADED,
    PLACED,
    ConflictRule,
    LoadedImage,
    Loader,
    Loading,
    confirm_digest,
)
from airgap.offline.missing_base import missing_layers
from airgap.offline.place_files import FilesLoader, with_files
from airgap.offline.rename import renamed
from airgap.progress import phase_unless
from airgap.workers import run_each


def load(target: Target, loading: Loading) -> list[LoadedImage]:
    """Load every image. If an image fails, its result has the error, and the other images are not affected.

    Before anything changes, raises `IncompleteError` if the target lacks a blob that the bundle leaves out,
    `PolicyError` if a name refers to another image at the target and `on_conflict` is `refuse`, `UsageError`
    if two images would have the same name, and the target's own error if it is unreachable.
    """
    if loading.all_or_nothing and isinstance(target, FolderTarget | FilesTarget):
        raise _cannot_load_together(target)
    images = renamed(loading.bundle.images, loading.renamings, loading.progress.note)
    if loading.only_for:
        needed = frozenset(blob.digest for newer in loading.only_for for blob in newer.requires)
        images = nameless(images)
        _refuse_unneeded(target, replace(loading, asked=needed), images)
    else:
        loading.check_names(images)
    _refuse_same_name(target, images)
    if isinstance(target, FileTarget):
        return _load_file(target, loading, images)
    results = _load_with(_loader(target, loading), target, loading, images)
    return explain_missing_names(results, loading.only_for[0]) if loading.only_for else results


def load_with_files(target: Target, folder: FilesTarget | None, loading: Loading) -> list[LoadedImage]:
    """Load every image as `load` does, and then write the bundle's files into `folder`, if there is one. With
    `all_or_nothing`, the files are written only if no image failed.

    Raises what `load` raises, and `PolicyError` before anything changes if a different file is in the folder
    and `files_conflict` is `refuse`.
    """
    if folder is None:
        return load(target, loading)
    if loading.only_for:
        raise UsageError(
            "an older bundle is loaded for its content only, without its files", subject=folder.name,
            hint=BACK_HINT,
        )  # fmt: skip
    for image in loading.bundle.images:
        FilesLoader(folder, loading).look(image)
    results = load(target, loading)
    if loading.all_or_nothing and any(result.verdict == FAILED for result in results):
        withhold_files(results)
        return results
    placed = load(folder, replace(loading, before_names_move=lambda: None, all_or_nothing=False))
    return with_files(results, placed, folder.name)


def _cannot_load_together(target: FolderTarget | FilesTarget) -> UsageError:
    writing = "whose files are written one after the other"
    if isinstance(target, FolderTarget):
        writing = "whose reader imports each archive as soon as it is there"
    return UsageError(
        "--all-or-nothing is not possible at this target", subject=target.name, got=f"a folder, {writing}",
        hint="load into an engine, a registry, an OCI directory or one archive; nothing was changed",
    )  # fmt: skip


def _loader(target: ContentTarget | EngineTarget | FolderTarget | FilesTarget, loading: Loading) -> Loader:
    match target:
        case ContentTarget():
            return ContentLoader(target, loading)
        case EngineTarget():
            return EngineLoader(target, loading)
        case FolderTarget():
            return FolderLoader(target, loading)
        case FilesTarget():
            loader = FilesLoader(target, loading)
            loader.refuse_same_names()
            return loader
        case _:
            assert_never(target)


def _refuse_unneeded(target: Target, asking: Loading, images: Sequence[VerifiedImage]) -> None:
    """Raise `RollbackError` unless the target lacks a blob that `asking` looks for. Archives have no base."""
    if isinstance(target, ContentTarget | EngineTarget):
        loader = _loader(target, asking)
        if any(loader.missing(image) for image in images):
            return
    statement, mark = asking.bundle.statement, asking.bundle.mark
    raise RollbackError(
        "older than the last accepted bundle, and no content of it is missing at the target",
        subject=f"{target.name}: {statement.title}",
        want=f"{statement.stream}-{mark.serial:04d}, or a later one" if mark else None,
        hint=BACK_HINT,
    )


def _load_with(
    loader: Loader, target: Target, loading: Loading, images: Sequence[VerifiedImage]
) -> list[LoadedImage]:
    results = _look(loader, target, loading, images)
    todo = [result for result in results if result.verdict == LOADED]
    if loading.all_or_nothing and any(result.verdict == FAILED for result in results):
        withhold(results)
        return results
    _prove_base(loader, todo, target.name)
    if loading.on_conflict is ConflictRule.REFUSE:
        _refuse_conflicts(todo)
    loading.before_names_move()
    target.sweep()

    def failed() -> bool:
        return any(result.verdict == FAILED for result in todo)

    try:
        if todo:
            total = loader.total(todo)
            with phase_unless(loading.progress, f"loading into {target.name}", total, failed) as advance:
                _load_all(loader, todo, advance, together=loading.all_or_nothing)
    finally:
        with contextlib.suppress(EndpointError, MediaError):
            target.sweep()
    _confirm_all(loader.now, results, loading.jobs)
    return results


def _look(
    loader: Loader, target: Target, loading: Loading, images: Sequence[VerifiedImage]
) -> list[LoadedImage]:
    """Return what the target has of each image. The first is looked up alone, so that a wrong login is tried
    once. After an error, no other image is looked up: a target that does not answer is tried for a while.
    """
    results = [LoadedImage(image, FAILED) for image in images]
    ended = threading.Event()

    def look(number: int) -> None:
        if ended.is_set():
            return
        image = images[number]
        try:
            results[number].error = _refusal(image, target, loading)
            if results[number].error is None:
                results[number] = loader.look(image)
        except BaseException:
            ended.set()
            raise

    for numbers in (range(len(images))[:1], range(len(images))[1:]):
        run_each(look, numbers, loading.jobs)
    return results


def _load_all(loader: Loader, todo: Sequence[LoadedImage], advance: Advance, *, together: bool) -> None:
    if not together:
        loader.load_all(todo, advance)
    elif isinstance(loader, ContentLoader | EngineLoader):
        load_together(loader, todo, advance)


def _refusal(image: VerifiedImage, target: Target, loading: Loading) -> AirgapError | None:
    """Return the error for an image that must not be loaded, or None. The bundle may have none of its
    platforms, or it may have foreign layers that readers of the target would download although the layers are
    present.
    """
    if isinstance(target, FilesTarget):
        return None
    if image.graph.is_hollow:
        return MissingContentError(
            "the bundle has none of the platforms of this image",
            subject=image.name,
            want=image.record.digest,
            hint="ask the sending side to pack a platform that the source image has",
        )
    if loading.allow_urls or not _uses_addresses(image, target):
        return None
    layer = next(iter(image.graph.foreign.values()))
    return PolicyError(
        "the image has foreign layers, and tools that read it there connect to their addresses (urls)",
        subject=f"{image.name} into {target.name}",
        got=layer.urls[0],
        hint="the layers are in the bundle; if tools may connect to these addresses, use --allow-urls",
    )


def _uses_addresses(image: VerifiedImage, target: Target) -> bool:
    """Return whether readers of the target connect to the addresses in foreign layers. Readers of layouts,
    archives and registries do (skopeo, podman, containerd; FORMAT.md §4). Docker and containerd do not: they
    import a stream unchanged.
    """
    if not image.graph.foreign or isinstance(target, FolderTarget):
        return False
    if not isinstance(target, EngineTarget):
        return True
    info = target.info()
    if not info.config_ids:  # not podman
        return False
    with contextlib.suppress(EndpointError):  # no platform for this engine: reported elsewhere
        return any(layer.urls for layer in runnable(image, info.platform).manifest.layers)
    return False


def _confirm_all(
    now: Callable[[LoadedImage, Digest], Digest | None], results: Sequence[LoadedImage], jobs: int
) -> None:
    """Look up every name again at the end: another process, a later image of the bundle or the target itself
    may have moved or removed it. An image whose name no longer refers to it has failed.
    """

    def ask(item: tuple[LoadedImage, Digest]) -> None:
        result, wanted = item
        result.after = None
        try:
            result.after = now(result, wanted)
            confirm_digest(result.after, wanted, result.image)
        except AirgapError as error:
            result.verdict, result.error = FAILED, error

    present = [(result, result.after) for result in results if result.verdict in PRESENT and result.after]
    run_each(ask, present, jobs)


def _refuse_same_name(target: Target, images: Sequence[VerifiedImage]) -> None:
    """Raise `UsageError` for two image names that would be the same at the target: a registry has only
    repositories and tags, a folder only files. At a registry, one image may have both names. The tags of
    referrer lists count too.
    """
    is_registry = isinstance(target, RegistryTarget)
    owners: dict[Hashable, VerifiedImage] = {}
    for image in images:
        other = owners.setdefault(target.kept_name(image.name), image)
        if other is image or (is_registry and other.record.digest == image.record.digest):
            continue
        raise _same_name_error(target, image, other.name)
    for image in images if is_registry else ():
        for subject in filter(None, (item.manifest.subject for item in image.graph.manifests)):
            tag = replace(image.name, tag=fallback_tag(subject.digest), digest=None)
            if (owner := owners.get(target.kept_name(tag))) is not None:
                raise _same_name_error(target, owner, f"the list of what refers to {subject.digest}")


def _same_name_error(target: Target, image: VerifiedImage, other: object) -> UsageError:
    kind = "registry" if isinstance(target, RegistryTarget) else "target"
    return UsageError(
        f"two images would have the same name at the {kind}",
        subject=f"{target.name}: {image.name.repository}:{image.name.tag}",
        got=f"{other} and {image.name}",
        hint="give one of them another repository with --map; nothing was changed",
    )


def _prove_base(loader: Loader, todo: Sequence[LoadedImage], target: str) -> None:
    for result in todo:
        if missing := loader.missing(result.image):
            raise missing_layers(
                [blob.digest for blob in missing],
                "the base is not at the target",
                subject=f"{target}: {result.image.name}",
                hint="name the bundles that it builds on in the same command, or ask the sender for a full "
                "bundle (airgap pack --full); nothing was changed",
            )


def _refuse_conflicts(todo: Sequence[LoadedImage]) -> None:
    for result in todo:
        if result.before is not None:
            raise PolicyError(
                "the name refers to another image at the target",
                subject=result.image.name,
                want=result.image.record.digest,
                got=result.before,
                hint="move the name with --on-conflict replace; nothing was changed",
            )


def _load_file(target: FileTarget, loading: Loading, images: Sequence[VerifiedImage]) -> list[LoadedImage]:
    """Write all images into one archive, which is complete or absent. Earlier content is not compared."""
    for refusal in filter(None, (_refusal(image, target, loading) for image in images)):
        raise refusal
    if requires := loading.bundle.left_out:
        raise IncompleteError(
            "a delta cannot be loaded into an archive",
            subject=target.name,
            want=requires[0].digest,
            hint="load it into the target that has its base, or ask for a full bundle (airgap pack --full)",
        )
    tar = ImageTar(loading.bundle)
    for image in images:
        runnables = [item for item in image.graph.manifests if item.config]
        view = image.graph.for_platform(PREFERRED) or (runnables[0] if runnables else None)
        tar.add_whole(image, view)
    loading.before_names_move()
    with loading.progress.phase(f"writing {target.name}", tar.total) as advance:
        target.write(tar.chunks(advance))
    results = [LoadedImage(image, PLACED, after=image.record.digest) for image in images]
    names = cache(target.names)
    _confirm_all(lambda result, _: names().get(result.image.name), results, loading.jobs)
    return results
