"""The form of an image that one engine gets: its manifest, its ID and its content. No I/O."""

from dataclasses import dataclass, replace
from functools import cached_property

from airgap.bundle.graph import CarriedManifest
from airgap.carry.verify_small_files import VerifiedImage
from airgap.endpoints.engine_info import EngineInfo
from airgap.errors import EndpointError
from airgap.oci.digest import Digest
from airgap.oci.documents import Descriptor, chain_ids
from airgap.oci.platform import UNKNOWN, Platform
from airgap.offline.reduced import only

_RUNS_TOO = {("amd64", "386"), ("arm64", "arm")}
"""Pairs of a machine's architecture and another one that it also runs (containerd/platforms, `Default`)."""


@dataclass(frozen=True)
class EngineImage:
    """An image for an engine with the properties `info`; `engine` is the engine's name for people. If no
    manifest of the image fits, the first use raises `EndpointError`.
    """

    image: VerifiedImage
    info: EngineInfo
    engine: str

    @cached_property
    def chosen(self) -> CarriedManifest:
        """The manifest that the engine would run."""
        return runnable(self.image, self.info.platform)

    @cached_property
    def image_id(self) -> Digest:
        """The ID that the image gets in this engine."""
        is_config = self.info.ids_are_configs
        return self.chosen.manifest.config.digest if is_config else self.image.record.digest

    @cached_property
    def sent(self) -> VerifiedImage:
        """The image in the form that the engine accepts. podman fails on an index inside an index, even when
        it pulls one, so it gets the manifest that it would run.
        """
        graph = self.image.graph
        if not self.info.config_ids or not graph.is_nested(self.chosen):
            return self.image
        return replace(self.image, graph=only(self.chosen, graph))

    @cached_property
    def kept(self) -> dict[Digest, Descriptor]:
        """The configs and layers of the image that the engine keeps."""
        if self.info.keeps_index and not self.info.one_platform:
            return self.image.graph.blobs
        return {blob.digest: blob for blob in self.chosen.manifest.blobs}

    @cached_property
    def chains(self) -> list[Digest]:
        """The chain IDs of the layers of the manifest that the engine would run."""
        return chain_ids(self.chosen.config.diff_ids if self.chosen.config else ())

    @property
    def root(self) -> Digest:
        """The digest of the image manifest or index that is sent."""
        return self.sent.graph.root.digest

    @property
    def difference(self) -> str | None:
        """How the engine's image differs from the signed one, or None."""
        if self.sent is self.image:
            return None
        return (
            f"{self.engine} does not accept an index inside an index; the name refers to the "
            f"{self.chosen.platform} image, {self.root}"
        )

    @property
    def refusal(self) -> EndpointError | None:
        """The error for an image that this engine would refuse with an unclear message, or None.

        containerd and podman need their own platform in an index, but accept a single image manifest for any
        platform. A graph driver on Linux does not accept an image whose config names another operating
        system.
        """
        chosen, ours, name = self.chosen, self.info.platform, self.image.name
        system = chosen.config.platform.os if chosen.config else ours.os
        if not self.info.keeps_index and ours.os == "linux" and system not in (ours.os, UNKNOWN.os):
            return EndpointError(
                f"this engine takes images for {ours.os} only",
                subject=f"{self.engine}: {name}",
                got=chosen.platform,
                hint="load it into an engine with the containerd image store, a registry or an OCI directory",
            )
        is_index = chosen.descriptor.digest != self.image.record.digest
        if not (self.info.one_platform and is_index and self._is_foreign):
            return None
        return EndpointError(
            "the image has no platform for this engine",
            subject=name,
            want=ours,
            got=chosen.platform,
            hint=f"pack it for {ours} too, or load it into Docker, a registry or an OCI directory",
        )

    @property
    def foreign_note(self) -> str | None:
        """The note about an image for another machine, or None. Such an image is allowed, but if it is a
        mistake, that is noticed only when the image is first run.
        """
        if not self._is_foreign:
            return None
        ours, theirs = self.info.platform, self.chosen.platform
        then = "may need emulation" if theirs.os == ours.os else "does not run there"
        if theirs.architecture.startswith("wasm"):
            then = "needs a WebAssembly runtime"
        name = self.image.name
        return f"{name} is for {theirs}, but {self.engine} runs {ours}: the image is loaded, but {then}"

    @property
    def _is_foreign(self) -> bool:
        """Return whether the chosen manifest is for a machine unlike the engine's; variants are ignored."""
        ours, theirs = self.info.platform, self.chosen.platform
        runs_too = ours.os == theirs.os and (ours.architecture, theirs.architecture) in _RUNS_TOO
        if theirs == UNKNOWN or runs_too:
            return False
        return (theirs.os, theirs.architecture) != (ours.os, ours.architecture)


def runnable(image: VerifiedImage, platform: Platform) -> CarriedManifest:
    """Return the manifest of `image` that an engine for `platform` gets.

    An image that is carried for one platform only is always sent, because the engine may emulate it.
    Raises `EndpointError` if no manifest fits.
    """
    candidates = [item for item in image.graph.manifests if item.config]
    chosen = image.graph.for_platform(platform)
    if chosen is None and len(candidates) == 1:
        chosen = candidates[0]
    if chosen is None:
        raise EndpointError(
            "the image has no platform for this engine" if candidates else "an artifact, not an image",
            subject=image.name,
            want=platform,
            got=", ".join(str(item.platform) for item in image.graph.manifests),
            hint=None if candidates else "load artifacts into a registry or an OCI directory",
        )
    return chosen
