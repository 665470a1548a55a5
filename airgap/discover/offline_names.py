"""The names that images have on the offline side, from the lock of what is carried."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from enum import StrEnum
from typing import Self, assert_never

from airgap.errors import FormatError
from airgap.manifest.lock import LockedImage
from airgap.oci.digest import Digest
from airgap.oci.reference import ImageReference
from airgap.values import dataclass


class NameForm(StrEnum):
    """How a rewritten file names an image."""

    BOTH = "both"
    """`NAME:TAG@DIGEST`: the runtime checks the digest, and a person sees the tag."""
    DIGEST = "digest"
    """`NAME@DIGEST`."""
    TAG = "tag"
    """`NAME:TAG`, for engines that do not keep digests of images that were loaded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OfflineNames:
    """Returns the name of an image on the offline side, when called with its name in a deployment file."""

    carried: dict[ImageReference, tuple[LockedImage, ...]]
    """By the normal names at the source and on the offline side."""
    form: NameForm
    rename: Callable[[ImageReference], ImageReference]
    """What `load --map` makes of a name."""

    @classmethod
    def of(
        cls,
        locked: Iterable[LockedImage],
        form: NameForm,
        rename: Callable[[ImageReference], ImageReference] = lambda name: name,
    ) -> Self:
        """Return the names of the images in a lock. Files, charts and attachments have none."""
        carried: dict[ImageReference, tuple[LockedImage, ...]] = {}
        images = [image for image in locked if image.subject is None and not image.files]
        for image in images:
            carried[image.reference.normal] = (*carried.get(image.reference.normal, ()), image)
        for image in images:
            carried.setdefault(image.name.normal, (image,))
        return cls(carried=carried, form=form, rename=rename)

    def __call__(self, reference: ImageReference) -> str | None:
        """Return the name, or None if the image is not carried.

        Raises:
            FormatError: The image is carried under several names, with another digest, or has no digest yet.
        """
        images = self.carried.get(reference.normal)
        if images is None:
            return None
        if len(images) > 1:
            got = " and ".join(str(image.name) for image in images)
            hint = "list the image once in the manifest, and use --map for the other name"
            raise FormatError(f"{reference} has several names offline", got=got, hint=hint)
        digest = images[0].descriptor.digest if images[0].descriptor else None
        if reference.digest and digest and reference.digest != digest:
            hint = "lock the manifest again, or change the digest in the file"
            raise FormatError(f"the lock has another digest than {reference}", got=str(digest), hint=hint)
        return str(self._written(self.rename(images[0].name), digest))

    def _written(self, name: ImageReference, digest: Digest | None) -> ImageReference:
        match self.form:
            case NameForm.TAG:
                return name.kept
            case NameForm.DIGEST | NameForm.BOTH if digest is None:
                hint = "use --names tag for images that come from an engine or an archive of docker save"
                raise FormatError(f"the lock has no digest of {name}", got="an image ID", hint=hint)
            case NameForm.DIGEST:
                return replace(name, tag=None, digest=digest)
            case NameForm.BOTH:
                return replace(name, digest=digest)
            case _:
                assert_never(self.form)
