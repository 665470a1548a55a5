"""Every content endpoint with something to hold its content, so that one test body fits all."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from airgap.endpoints.layout import Layout
from airgap.endpoints.ports import ContentSource, ContentTarget
from airgap.endpoints.registry import Registry, RegistryOptions
from airgap.endpoints.server import ImageServer
from airgap.oci.digest import Digest
from tests.support.images import Image, write_layout
from tests.support.registry import FakeRegistry

OPTIONS = RegistryOptions(retries=1, sleep=lambda _seconds: None)


class Endpoint(ContentSource, ContentTarget):
    """Both directions."""


@dataclass
class SourceWorld:
    """A source over given images."""

    source: ContentSource

    def replace(self, digest: Digest, raw: bytes | None) -> None:
        """Put other content, or none, in the place of this one, behind the source's back."""
        raise NotImplementedError


@dataclass
class LayoutWorld(SourceWorld):
    folder: Path

    def replace(self, digest: Digest, raw: bytes | None) -> None:
        path = self.folder / digest.path
        path.unlink()
        if raw is not None:
            path.write_bytes(raw)


@dataclass
class RegistryWorld(SourceWorld):
    registry: FakeRegistry

    def replace(self, digest: Digest, raw: bytes | None) -> None:
        places = [
            (self.registry.blobs, [key for key in self.registry.blobs if key[1] == digest]),
            (self.registry.manifests, [key for key in self.registry.manifests if key[1] == str(digest)]),
        ]
        for content, keys in places:
            for key in keys:
                old = content.pop(key)
                if raw is not None:
                    content[key] = (old[0], raw) if isinstance(old, tuple) else raw


@contextmanager
def layout_source(folder: Path, images: Mapping[str, Image]) -> Iterator[SourceWorld]:
    write_layout(folder, dict(images))
    yield LayoutWorld(Layout(folder), folder)


@contextmanager
def registry_source(folder: Path, images: Mapping[str, Image]) -> Iterator[SourceWorld]:
    with FakeRegistry() as registry:
        for name, image in images.items():
            repository, _, tag = name.rpartition(":")
            registry.add(repository, tag, image)
        source = Registry(registry.host, options=OPTIONS)
        yield RegistryWorld(source, registry)
        source.close()


@contextmanager
def server_source(folder: Path, images: Mapping[str, Image]) -> Iterator[SourceWorld]:
    """The registry client on our own server."""
    write_layout(folder, dict(images))
    with ImageServer([Layout(folder)]) as server:
        source = Registry(server.address, options=OPTIONS)
        yield LayoutWorld(source, folder)
        source.close()


@contextmanager
def layout_target(folder: Path) -> Iterator[Endpoint]:
    yield Layout(folder)


@contextmanager
def registry_target(folder: Path) -> Iterator[Endpoint]:
    with FakeRegistry() as registry:
        target = Registry(registry.host, options=OPTIONS)
        yield target
        target.close()


SOURCES = {"layout": layout_source, "registry": registry_source, "server": server_source}
TARGETS = {"layout": layout_target, "registry": registry_target}
