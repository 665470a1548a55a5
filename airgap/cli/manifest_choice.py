"""Finds the manifest that a command means: a file, or one made of the images on the command line."""

from collections.abc import Sequence
from pathlib import Path

from airgap.advice import MANIFEST, refuse_other
from airgap.bundle.files import Folder, write_file
from airgap.durable import exists
from airgap.errors import AirgapError, FormatError, UsageError
from airgap.limits import MAX_YAML_BYTES
from airgap.manifest import Lock, TransferManifest, lock_path
from airgap.manifest.from_images import is_unedited, manifest_of_images, stream_of
from airgap.oci.reference import ImageReference
from airgap.recognise import PathKind, recognise
from airgap.values import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ManifestChoice:
    """The manifest that a command works on."""

    manifest: TransferManifest
    is_made: bool
    """True if it was made of images on the command line; then `write` may have to write it."""

    @property
    def lock_file(self) -> Path:
        """The path of its lock, which may not exist."""
        return lock_path(self.manifest.path)

    def lock(self) -> Lock | None:
        """Return the lock of the manifest, or None without one. Raises `FormatError` for the lock of another
        manifest; a made manifest replaces its predecessor, and so does its lock.
        """
        if not self.lock_file.exists():
            return None
        lock = Lock.load(self.lock_file)
        if lock.fits(self.manifest):
            return lock
        if self.is_made:
            return None
        raise FormatError(
            "the lock belongs to another manifest",
            subject=self.lock_file,
            want="the images of the manifest as it is now",
            hint=f"the manifest lists other images than were locked: run `airgap lock {self.manifest.path}`",
        )

    def write(self, lock: Lock) -> list[Path]:
        """Write the lock, and before it the manifest if that was made here. Returns what was written."""
        written = []
        path = self.manifest.path
        if self.is_made and _read(path) != self.manifest.raw:
            write_file(path, self.manifest.raw)
            written.append(path)
        write_file(self.lock_file, lock.to_bytes(path.parent))
        return [*written, self.lock_file]


def choose_manifest(words: Sequence[Path], name: str | None = None) -> ManifestChoice:
    """Return the manifest that `words` are the path of, or one that lists them if they are images.

    A path that exists is never an image. The made manifest is `NAME.yaml` in the current folder, which is not
    written yet. Raises `UsageError` for a mixture, and for a file of that name with other content.
    """
    kinds = [recognise(word).kind for word in words]
    if PathKind.IMAGE_NAME not in kinds:
        if len(words) == 1:
            return _of_file(words[0], name)
        for word, kind in zip(words, kinds, strict=True):
            _refuse_untagged(word, kind)
        raise UsageError(
            "more than one manifest", want="one manifest, or images", got=", ".join(map(str, words))
        )
    for word, kind in zip(words, kinds, strict=True):
        if kind is not PathKind.IMAGE_NAME:
            _refuse_untagged(word, kind)
            raise UsageError("not an image", subject=word, want="images only, or one manifest")
    return _of_images([str(word) for word in words], name)


def _of_file(path: Path, name: str | None) -> ManifestChoice:
    _refuse_untagged(path, recognise(path).kind)
    if name is not None:
        want = "--name with images on the command line only"
        raise UsageError("the manifest names its stream", subject=path, want=want)
    refuse_other(path, MANIFEST)
    return ManifestChoice(manifest=TransferManifest.load(path), is_made=False)


def _of_images(texts: list[str], name: str | None) -> ManifestChoice:
    try:
        images = [ImageReference.parse(text) for text in texts]
        name = name or stream_of(images)
        raw = manifest_of_images(texts, name)
        path = Path(f"{name}.yaml")
        manifest = TransferManifest.parse(raw, path)
    except FormatError as error:
        raise UsageError(
            error.what, subject="the images on the command line", want=error.want, got=error.got,
            hint=error.hint or "--name NAME names their stream",
        ) from error  # fmt: skip
    if exists(path, follow=False) and (present := _read(path)) != raw and not is_unedited(present):
        raise UsageError(
            "a file of that name has other content", subject=path, want="the manifest of these images",
            hint=f"run `airgap pack {path}` to use that manifest, or choose another --name for these images",
        )  # fmt: skip
    return ManifestChoice(manifest=manifest, is_made=True)


def _refuse_untagged(word: Path, kind: PathKind) -> None:
    """Refuse a word that is neither a path nor certainly an image: `nginx` may be a misspelt file."""
    text = str(word)
    if kind is not PathKind.ABSENT or word.suffix in (".yaml", ".yml") or text.startswith((".", "/")):
        return
    try:
        ImageReference.parse(text)
    except AirgapError:
        return
    raise UsageError(
        "no such file or folder", subject=word, want="a manifest, or images with a tag or digest",
        hint=f"the image is written `{text}:latest`, or with another tag",
    )  # fmt: skip


def _read(path: Path) -> bytes:
    if not exists(path, follow=False):
        return b""
    with Folder(path.absolute().parent) as folder:
        return folder.read(path.name, MAX_YAML_BYTES)
