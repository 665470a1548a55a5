"""Docker engines and podman, as a source and as a target (Docker Engine API 1.41 and later).

The SDK makes the connection; `client` sends requests over it, and `answers` reads the answers.
"""

import json
import os
import socket
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from urllib.parse import quote

from airgap.endpoints.docker.answers import (
    answers_to,
    engine_info,
    held_manifests,
    id_of,
    inspected_image,
    is_complete,
    layer_chain,
    listed_images,
    names_in,
)
from airgap.endpoints.docker.client import EngineClient
from airgap.endpoints.docker.context import (
    EngineAddress,
    docker_address,
    engine_tls,
    parse_address,
    podman_host,
)
from airgap.endpoints.docker.dial import ChooseProxy, EngineSession, OpenSsh, dialled, local, remote
from airgap.endpoints.docker.hints import engine_hint, reach_hint, wire_words
from airgap.endpoints.docker.streams import LoadStream, SaveStream, load_complaint
from airgap.endpoints.engine_info import EngineInfo
from airgap.endpoints.ports import BlobSink, EngineTarget, ExportedImage, ExportSource, PresentImage
from airgap.endpoints.save_stream import export_archive
from airgap.errors import AirgapError, EndpointError, FormatError, NotFoundError, UnavailableError, UsageError
from airgap.limits import ENGINE_SILENCE_SECONDS, MAX_ENGINE_ANSWER_BYTES, MAX_ENGINE_LIST_BYTES
from airgap.oci.digest import Advance, Digest
from airgap.oci.documents import Descriptor
from airgap.oci.reference import ImageReference, reference_in
from airgap.oci.strict_json import Fields
from airgap.workers import run_each

_SCHEMES = ("unix://", "tcp://", "ssh://")
_MANIFESTS_API = (1, 48)
_INSPECT_JOBS = 8


class DockerEngine(ExportSource, EngineTarget):
    """One engine as source and target; connects at the first request.

    `endpoint` is `docker`, the engine that the docker CLI would use (see `context`), or `docker:` and a
    `unix://`, `tcp://` or `ssh://` address; a `tcp://` address uses TLS if Docker's own environment variables
    ask for it. `podman` instead of `docker` means podman's usual socket. `timeout` is the longest time, in
    seconds, without a byte. `ssh` connects to an `ssh://` address, and `proxy` chooses the proxy for a
    `tcp://` one. The engine is never asked to pull an image.
    """

    def __init__(
        self,
        endpoint: str = "docker",
        timeout: int = ENGINE_SILENCE_SECONDS,
        ssh: OpenSsh | None = None,
        proxy: ChooseProxy = lambda _: None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        scheme, colon, host = endpoint.partition(":")
        if scheme not in ("docker", "podman") or bool(colon) != host.startswith(_SCHEMES):
            raise UsageError(
                "not a Docker endpoint",
                want="docker or podman, alone or with :unix://, :tcp:// or :ssh://",
                got=endpoint,
            )
        self._endpoint = endpoint
        self._program = scheme
        self._host = host
        self._timeout = timeout
        self._ssh = ssh
        self._proxy = proxy
        self._environ = environ

    @property
    def name(self) -> str:
        return self._endpoint

    def identify(self, reference: ImageReference) -> Digest:
        """Return the image ID. The reference's digest may be one that the engine knows from a registry, or an
        image ID.
        """
        image = self._look_up(reference)
        if image is None:
            raise NotFoundError(
                "no such image", subject=f"{self.name}: {reference}", hint=f"docker pull {reference.familiar}"
            )
        return id_of(image)

    def export(
        self, references: Sequence[ImageReference], sink: BlobSink, advance: Advance
    ) -> list[ExportedImage]:
        """Export all names in one request, and each image ID in one more: of several IDs, or of names and an
        ID, Docker 25 to 28 write only the first into `index.json` (classic store, measured).
        """
        ids = [self.identify(reference) for reference in references]
        for reference in references:
            self._check_can_be_saved(reference)
        by_id: dict[Digest, ExportedImage] = {}
        for names, wanted in _requests(list(zip(references, ids, strict=True))):
            with self._save(names) as stream:
                repack = self.info().ids_are_configs
                exported = export_archive(stream, sink, list(wanted.values()), advance, repack=repack)
            by_id |= dict(zip(wanted, exported, strict=True))
        return [
            replace(by_id[image_id], reference=reference)
            for reference, image_id in zip(references, ids, strict=True)
        ]

    def platforms(self, reference: ImageReference) -> list[tuple[Descriptor, bool]] | None:
        if not self._lists_manifests:
            return None
        image = self._look_up(reference, {"manifests": "1"})
        return None if image is None else held_manifests(image)

    @property
    def _lists_manifests(self) -> bool:
        """Return whether the engine lists the manifests of an index: the containerd store, from API 1.48."""
        info = self.info()
        is_containerd = info.keeps_index and not info.config_ids
        return is_containerd and self._client.api_version >= _MANIFESTS_API

    def _check_can_be_saved(self, reference: ImageReference) -> None:
        """Docker 27 to 28.5 do not save an index that names the engine's own platform if that platform is
        missing.
        """
        held = self.platforms(reference) or []
        own = self.info().platform
        if any(is_complete for entry, is_complete in held if entry.platform == own):
            return
        if any(entry.platform == own for entry, _ in held):
            raise EndpointError(
                "this engine cannot save an image that lacks the engine's own platform",
                subject=f"{self.name}: {reference}",
                want=own,
                got=", ".join(str(entry.platform) for entry, is_complete in held if is_complete)
                or "none of its platforms",
                hint=f"docker pull --platform {own} {reference.familiar} there, or use the registry",
            )

    def find(self, reference: ImageReference) -> Digest | None:
        image = self._inspect(str(reference.kept))
        return None if image is None else id_of(image)

    def layer_chains(self) -> frozenset[Digest]:
        """Return the chain IDs of all layers. An image that the engine cannot show, or only in too long an
        answer, counts as absent: at worst its layers are sent again.
        """
        chains: set[Digest] = set()

        def look(image_id: Digest) -> None:
            try:
                image = self._inspect(str(image_id))
                chains.update(layer_chain(image) if image else ())
            except UnavailableError:
                raise
            except EndpointError:
                return

        run_each(look, sorted({id_of(image) for image in self._list()}), _INSPECT_JOBS)
        return frozenset(chains)

    def find_id(self, image_id: Digest, manifests: Collection[Digest] = ()) -> bool:
        """Return whether the engine has the whole image. In the containerd store, each platform with any
        content must have all of it; whether it unpacks is not checked. podman has only complete images.
        """
        if self.info().config_ids:
            return any(answers_to(image, image_id) for image in self._list())
        inspected = self._inspect(str(image_id), {"manifests": "1"} if self._lists_manifests else None)
        if inspected is None or id_of(inspected) != image_id:
            return False
        if not self.info().keeps_index:
            return True
        held = held_manifests(inspected) if self._lists_manifests else None
        available = {entry.digest for entry, is_available in held or () if is_available}
        return is_complete(inspected) and (held is None or available.issuperset(manifests))

    def present(self) -> Iterator[PresentImage]:
        for image in self._list(intermediate=False):
            for text in names_in(image) or [""]:
                yield PresentImage(reference_in(text), text, id_of(image))

    def load(self, tar: Iterable[bytes]) -> None:
        """Load with `quiet`: progress messages that are not read while sending would block both sides."""
        upload = LoadStream(tar)
        try:
            with self._client.stream(
                "POST", "/images/load", "load failed", params={"quiet": "1"}, data=upload
            ) as answer:
                complaint = load_complaint(answer.read(MAX_ENGINE_ANSWER_BYTES))
        except EndpointError:
            if upload.error is not None:
                raise upload.error from upload.error.__cause__
            raise
        if complaint is not None:
            raise EndpointError("load failed", subject=self.name, got=complaint, hint=engine_hint(complaint))

    def tag(self, image_id: Digest, reference: ImageReference) -> None:
        if reference.tag is None:
            raise EndpointError("an engine cannot use a name without a tag", subject=reference)
        name = {"repo": reference.name, "tag": reference.tag}
        self._client.call("POST", f"/images/{image_id}/tag", "cannot tag", reference, name)

    def untag(self, reference: ImageReference) -> None:
        """Remove the name. With the last name, the engine removes the image, unless a container uses it."""
        path = f"/images/{quote(str(reference.kept), safe='/:')}"
        try:
            self._client.call("DELETE", path, "cannot remove the name", reference, {"noprune": "1"})
        except NotFoundError:
            return

    def remove_name(self, reference: ImageReference, digest: Digest) -> None:
        """See `_Target`. Stopped containers use their image too."""
        filters = {"all": "1", "limit": "1", "filters": json.dumps({"ancestor": [str(reference.kept)]})}
        if self._client.document("/containers/json", "cannot list containers", params=filters):
            raise EndpointError("a container uses the image", subject=reference, got=digest)
        self.untag(reference)

    @cached_property
    def _address(self) -> EngineAddress:
        if self._program == "podman":
            return EngineAddress(parse_address(self._host or podman_host(self._environ), self.name))
        if not self._host:
            return docker_address(self._environ)
        url = parse_address(self._host, self.name)
        return EngineAddress(url, engine_tls(self._environ) if url.startswith("tcp://") else None)

    @cached_property
    def _client(self) -> EngineClient:
        address = self._address
        try:
            client = EngineClient(self._connect(address), self.name, self._timeout)
            _ = client.api_version  # now, so that an engine that does not answer gets a hint
        except Exception as error:
            if isinstance(error, AirgapError) and not isinstance(error, UnavailableError):
                raise
            raise UnavailableError(
                "the engine does not answer",
                subject=self.name if address.url in self.name else f"{self.name}, {address}",
                got=wire_words(error.__cause__ or error),
                hint=reach_hint(address, self._program, error, self._environ),
            ) from error
        return client

    def _connect(self, address: EngineAddress) -> EngineSession:
        if address.url.startswith("ssh://"):
            if self._ssh is None:
                raise UsageError("SSH is not available here", subject=self.name)
            return dialled(self._ssh(address.url, self._program))
        if address.url.startswith("unix://"):
            path = address.url.removeprefix("unix://")
            _check_socket_is_listening(path)
            return local(path, self._timeout)
        return remote(address, self._proxy)

    def _read_info(self) -> EngineInfo:
        info = self._client.document("/info", "cannot read the engine's state")
        engine = engine_info(self._client.version, info, self._client.api_version)
        return replace(engine, address=str(self._address))

    def _list(self, *, intermediate: bool = True) -> list[Fields]:
        """Return all images, including those without a name; `intermediate` ones are steps of builds."""
        params = {"all": "1"} if intermediate else {}
        answer = self._client.document(
            "/images/json", "cannot list images", params=params, limit=MAX_ENGINE_LIST_BYTES
        )
        return listed_images(answer)

    def _look_up(self, reference: ImageReference, params: dict[str, str] | None = None) -> Fields | None:
        if reference.digest is None:
            return self._inspect(str(reference), params)
        name = f"{reference.name}@{reference.digest}"
        return self._inspect(name, params) or self._inspect(str(reference.digest), params)

    def _inspect(self, name: str, params: dict[str, str] | None = None) -> Fields | None:
        path = f"/images/{quote(name, safe='/:')}/json"
        try:
            answer = self._client.document(path, "cannot inspect", name, params=params)
        except NotFoundError:
            return None
        return inspected_image(answer)

    @contextmanager
    def _save(self, names: list[str]) -> "Iterator[SaveStream]":
        """Run one `docker save` of all `names`; the connection is cut if the caller stops early."""
        with self._client.stream(
            "GET", "/images/get", "cannot save", ", ".join(names), params={"names": names}
        ) as answer:
            stream = SaveStream(answer.pieces())
            try:
                yield stream
            except FormatError as error:
                if (words := stream.late_error()) is None:
                    raise
                raise EndpointError("save failed", subject=self.name, got=words) from error


def _requests(
    images: "list[tuple[ImageReference, Digest]]",
) -> "Iterator[tuple[list[str], dict[Digest, ImageReference]]]":
    """Yield the names to request from `docker save`, and the images, by ID, in its answer."""
    named = [(reference, image_id) for reference, image_id in images if reference.digest is None]
    if named:
        names = list(dict.fromkeys(str(reference) for reference, _ in named))
        yield names, {image_id: reference.with_digest(image_id) for reference, image_id in named}
    named_ids = {image_id for _, image_id in named}
    for image_id in dict.fromkeys(image_id for _, image_id in images if image_id not in named_ids):
        reference = next(reference for reference, other in images if other == image_id)
        yield [str(image_id)], {image_id: reference.with_digest(image_id)}


def _check_socket_is_listening(path: str) -> None:
    """Raise `OSError` if no process listens on a unix socket: the SDK would leave its own socket open."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(path)
