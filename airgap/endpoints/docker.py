"""Docker engines and podman, as a source and as a target (Docker Engine API 1.41 and later).

The SDK's public parts make the connection and the short calls. `save` and `load` are plain requests
on its session: they carry gigabytes, and the SDK's own forms take one image at a time and a
time-out of a minute.
"""

import socket
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from functools import cached_property
from typing import Any
from urllib.parse import quote

import requests
from docker import APIClient
from docker.errors import APIError, DockerException, NotFound, create_api_error_from_http_exception
from docker.utils import kwargs_from_env

from airgap.endpoints.docker_dial import NO_REDIRECTS, OpenSsh, connect
from airgap.endpoints.docker_podman import default_host, is_podman, knows
from airgap.endpoints.docker_streams import Download, Upload, load_complaint
from airgap.endpoints.ports import BlobSink, EngineInfo, ExportedImage
from airgap.endpoints.save_stream import export_archive
from airgap.errors import (
    AccessDeniedError,
    AirgapError,
    EndpointError,
    FormatError,
    NotFoundError,
    UnavailableError,
    UsageError,
)
from airgap.oci.digest import Advance, Digest
from airgap.oci.documents import chain_ids
from airgap.oci.platform import Platform
from airgap.oci.reference import ImageReference

DEFAULT_TIMEOUT = 3600
"""Seconds without a byte: engines pack before `save` begins and unpack after `load` has ended."""

_SCHEMES = ("unix://", "tcp://", "ssh://")
_DEFAULT_HOST = "unix:///var/run/docker.sock"
_CONTAINERD_STORE = ["driver-type", "io.containerd.snapshotter.v1"]
_ZSTD_API = (1, 42)
_MANIFESTS_API = (1, 48)


class DockerEngine:
    """An `ExportSource` and a `StreamTarget` over one engine; connects when it is first asked.

    `endpoint` is `docker` (`DOCKER_HOST`, or the usual socket), or `docker:` and a `unix://`,
    `tcp://` or `ssh://` address; TLS is set up by Docker's own environment variables. `podman` in the
    place of `docker` is podman's usual socket. `timeout` is in seconds without a byte. Nothing is ever
    pulled. `ssh` opens the way to an `ssh://` address: the SDK's own way would trust what its
    configuration says, and is never taken.
    """

    def __init__(
        self, endpoint: str = "docker", timeout: int = DEFAULT_TIMEOUT, ssh: OpenSsh | None = None
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
        self._host = host or (default_host() if scheme == "podman" else "")
        self._timeout = timeout
        self._ssh = ssh

    @property
    def name(self) -> str:
        return self._endpoint

    def info(self) -> EngineInfo:
        return self._info

    def identify(self, reference: ImageReference) -> Digest:
        """Its digest may be one that the engine knows from a registry, or an image ID."""
        found = self._look_up(reference)
        if found is None:
            raise NotFoundError(
                "no such image", subject=f"{self.name}: {reference}", hint=f"docker pull {reference.familiar}"
            )
        return _image_id(found)

    def export(
        self, references: Sequence[ImageReference], sink: BlobSink, advance: Advance
    ) -> list[ExportedImage]:
        ids = [self.identify(reference) for reference in references]
        wanted = [
            reference.with_digest(image_id) for reference, image_id in zip(references, ids, strict=True)
        ]
        names = dict.fromkeys(self._save_name(*pair) for pair in zip(references, ids, strict=True))
        with self._save(list(names)) as stream:
            found = export_archive(stream, sink, wanted, advance, repack=self.info().ids_are_configs)
        return [replace(image, reference=own) for image, own in zip(found, references, strict=True)]

    def find(self, reference: ImageReference) -> Digest | None:
        found = self._inspect(_target_name(reference))
        return None if found is None else _image_id(found)

    def layer_chains(self) -> frozenset[Digest]:
        ids = {str(image.get("Id")) for image in self._list()}
        found: set[Digest] = set()
        for image_id in sorted(ids):
            layers = ((self._inspect(image_id) or {}).get("RootFS") or {}).get("Layers") or []
            found.update(chain_ids([Digest.parse(text, self.name) for text in layers]))
        return frozenset(found)

    def find_id(self, image_id: Digest) -> bool:
        """In the containerd store an image counts as whole when all content of the platforms that
        it has any of is there; whether it unpacks is not looked at. podman has only whole ones.
        """
        if self.info().config_ids:
            return knows(self._list(), image_id)
        asks_manifests = self.info().keeps_index and self._api_version >= _MANIFESTS_API
        found = self._inspect(str(image_id), {"manifests": "1"} if asks_manifests else None)
        if found is None or _image_id(found) != image_id:
            return False
        return not self.info().keeps_index or _is_whole(found)

    def load(self, tar: Iterable[bytes]) -> None:
        upload = Upload(tar)
        try:
            with self._door("load failed", None), self._post_load(upload) as response:
                _raise_for_status(response)
                complaint = load_complaint(response)
        except EndpointError:
            if upload.error is not None:
                raise upload.error from upload.error.__cause__
            raise
        if complaint is not None:
            raise EndpointError("load failed", subject=self.name, got=complaint)

    def tag(self, image_id: Digest, reference: ImageReference) -> None:
        if reference.tag is None:
            raise EndpointError("an engine cannot be given a name without a tag", subject=reference)
        with self._door("cannot tag", reference):
            self._api.tag(str(image_id), reference.name, reference.tag)

    def untag(self, reference: ImageReference) -> None:
        """With its last name the engine drops the image itself, unless a container uses it."""
        try:
            with self._door("cannot remove the name", reference):
                self._api.remove_image(_target_name(reference), force=False, noprune=True)
        except NotFoundError:
            return

    @cached_property
    def _api(self) -> APIClient:
        host = self._host
        try:
            options: dict[str, Any] = dict(kwargs_from_env())
            host = options["base_url"] = host or options.get("base_url") or _DEFAULT_HOST
            if host.startswith("ssh://"):
                return self._over_ssh(host)
            _knock(host)
            client = APIClient(**options, timeout=self._timeout)
        except AirgapError:
            raise
        except Exception as error:
            raise UnavailableError(
                "no engine answers",
                subject=self.name,
                got=_root(error),
                hint=_reach_hint(host, self._program),
            ) from error
        client.max_redirects = NO_REDIRECTS
        return client

    def _over_ssh(self, host: str) -> APIClient:
        if self._ssh is None:
            raise UsageError("SSH is not possible here", subject=self.name)
        return connect(self._ssh(host, self._program), self._timeout)

    @cached_property
    def _api_version(self) -> tuple[int, ...]:
        return tuple(int(part) for part in self._api.api_version.split("."))

    @cached_property
    def _info(self) -> EngineInfo:
        with self._door("cannot ask for its version", None):
            version, info = self._api.version(), self._api.info()
        podman = is_podman(version)
        keeps_index = podman or _CONTAINERD_STORE in (info.get("DriverStatus") or [])
        variant = "v6" if str(info.get("Architecture")).startswith("armv6") else ""
        return EngineInfo(
            Platform.of(str(version.get("Os")), str(version.get("Arch")), variant),
            keeps_index=keeps_index,
            zstd_layers=keeps_index or self._api_version >= _ZSTD_API,
            version=str(version.get("Version", "")),
            config_ids=podman,
            one_platform=podman,
        )

    def _door(self, what: str, subject: object) -> AbstractContextManager[None]:
        return _door(what, self.name if subject is None else f"{self.name}: {subject}")

    def _url(self, path: str) -> str:
        return f"{self._api.base_url}/v{self._api.api_version}{path}"

    def _list(self) -> list[dict[str, Any]]:
        with self._door("cannot list images", None):
            found: list[dict[str, Any]] = self._api.images(all=True)
            return found

    def _look_up(self, reference: ImageReference) -> dict[str, Any] | None:
        if reference.digest is None:
            return self._inspect(str(reference))
        return self._inspect(f"{reference.name}@{reference.digest}") or self._inspect(str(reference.digest))

    def _save_name(self, reference: ImageReference, image_id: Digest) -> str:
        return str(reference) if reference.digest is None else str(image_id)

    def _inspect(self, name: str, params: dict[str, str] | None = None) -> dict[str, Any] | None:
        try:
            with self._door("cannot inspect", name):
                url = self._url(f"/images/{quote(name, safe='/:')}/json")
                with self._api.get(url, params=params, timeout=self._timeout) as response:
                    _raise_for_status(response)
                    found = response.json()
        except NotFoundError:
            return None
        if not isinstance(found, dict):
            raise EndpointError("unreadable answer", subject=f"{self.name}: {name}")
        return found

    @contextmanager
    def _save(self, names: list[str]) -> "Iterator[Download]":
        """One `docker save` of all `names`; the connection is cut when the caller stops early."""
        with self._door("cannot save", ", ".join(names)):
            response = self._api.get(
                self._url("/images/get"), params={"names": names}, stream=True, timeout=self._timeout
            )
        with response:
            stream = Download(response, lambda: self._door("save broke off", ", ".join(names)))
            with self._door("cannot save", ", ".join(names)):
                _raise_for_status(response)
            try:
                yield stream
            except FormatError as error:
                if (words := stream.late_error()) is None:
                    raise
                raise EndpointError("save failed", subject=self.name, got=words) from error

    def _post_load(self, upload: "Upload") -> requests.Response:
        """Quiet, as progress that nobody reads while sending would block both sides."""
        return self._api.post(
            self._url("/images/load"),
            params={"quiet": "1"},
            data=upload,
            headers={"Content-Type": "application/x-tar"},
            stream=True,
            timeout=self._timeout,
        )


@contextmanager
def _door(what: str, subject: str) -> Iterator[None]:
    """Foreign exceptions leave as ours."""
    try:
        yield
    except APIError as error:
        kind: type[EndpointError] = EndpointError
        if isinstance(error, NotFound):
            kind = NotFoundError
        elif error.status_code in (401, 403):
            kind = AccessDeniedError
        raise kind(what, subject=subject, got=error.explanation or error) from error
    except (requests.RequestException, OSError) as error:
        raise UnavailableError(what, subject=subject, got=error) from error
    except DockerException as error:
        raise EndpointError(what, subject=subject, got=error) from error


def _raise_for_status(response: requests.Response) -> None:
    """Raise the SDK's `APIError`, which has the engine's own words."""
    try:
        response.raise_for_status()
    except requests.HTTPError as error:
        create_api_error_from_http_exception(error)


def _target_name(reference: ImageReference) -> str:
    return str(reference if reference.tag is None else reference.with_digest(None))


def _image_id(inspected: dict[str, Any]) -> Digest:
    try:
        return Digest.parse(inspected.get("Id", ""), "image ID")
    except FormatError as error:
        raise EndpointError("unreadable answer", subject="image ID", got=inspected.get("Id")) from error


def _is_whole(inspected: dict[str, Any]) -> bool:
    """Judged by the engine's list of manifests; engines before API 1.48 give none, and show an image
    with missing content without an architecture.
    """
    manifests = inspected.get("Manifests")
    if manifests is None:
        return bool(inspected.get("Architecture"))
    images = [manifest for manifest in manifests if manifest.get("Kind") == "image"]
    begun = [image for image in images if image.get("Available") or image.get("Size", {}).get("Content")]
    return bool(begun) and all(image.get("Available") for image in begun)


def _reach_hint(host: str, program: str) -> str:
    if host.startswith("ssh://"):
        return f"does `ssh {host} {program} version` work?"
    if host.endswith("/podman.sock"):
        return "systemctl start podman.socket, or systemctl --user start podman.socket"
    if host.startswith("unix://"):
        return f"is dockerd running? may this user read {host.removeprefix('unix://')}?"
    return "is dockerd running, and does it listen there?"


def _knock(host: str) -> None:
    """Raise `OSError` when nobody listens on a unix socket: the SDK would leave its own one open."""
    if host.startswith("unix://"):
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(host.removeprefix("unix://"))


def _root(error: BaseException) -> BaseException:
    """What happened at the bottom: the SDK and its libraries wrap it four times over."""
    while (inner := error.__cause__ or error.__context__) is not None:
        error = inner
    return error
