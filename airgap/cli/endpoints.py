"""Opens the endpoints that people name: `docker`, `registry:HOST`, `oci:DIR`, `archive:FILE`."""

import os
import threading
from dataclasses import KW_ONLY, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from airgap.advice import ARCHIVE, LAYOUT, refuse_other
from airgap.cli import console
from airgap.cli.options import PullAccess, RegistryAccess, SshAccess
from airgap.cli.slips import meant_host, meant_target
from airgap.endpoints.ports import FilesTarget, Source, Target
from airgap.errors import UsageError, printable
from airgap.hiding import LOGIN_HINT, has_secret
from airgap.limits import MAX_PIECE_CONNECTIONS, METADATA_JOBS
from airgap.oci.reference import ImageReference
from airgap.values import dataclass

if TYPE_CHECKING:
    from airgap.endpoints.docker.dial import Dial
    from airgap.endpoints.docker.engine import DockerEngine
    from airgap.endpoints.registry import Registry, RegistryOptions
    from airgap.endpoints.registry.download import Download
    from airgap.endpoints.ssh import Ssh

TARGETS = (
    "docker[:unix://…|:ssh://…], podman[:unix://…], containerd[:NAMESPACE], "
    "k3s[:DIR], rke2[:DIR], k0s[:DIR], registry:HOST[:PORT][/PREFIX], oci:DIR, archive:FILE, files:DIR"
)


def make_engine_ssh(options: SshAccess, target: str) -> "Ssh | None":
    """Return SSH with these options; None without any. Raises `UsageError` if the target is not an engine:
    SSH leads to engines only, also with `DOCKER_HOST`.
    """
    if options == SshAccess():
        return None
    if target.partition(":")[0] not in ("docker", "podman"):
        raise UsageError(
            "SSH options need an engine", want="--to docker:ssh://[USER@]HOST[:PORT]", got=target
        )
    return options.make_ssh()


@dataclass(frozen=True, slots=True)
class Endpoints:
    """Opens endpoints with the options of one command, each only once."""

    registries: RegistryAccess = field(default_factory=RegistryAccess)
    _: KW_ONLY
    connections: int = 8
    ssh: "Ssh | None" = None
    """SSH with the options of the command; None: as ssh_config says."""
    _open: dict[object, Source] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def source(self, kind: str, reference: ImageReference | None, path: Path | None) -> Source:
        """`online.lock.OpenSource`."""
        host = reference.registry if reference is not None and kind == "registry" else None
        key = (kind, host, path)
        with self._lock:
            if key not in self._open:
                self._open[key] = self._make_source(kind, host, path)
            return self._open[key]

    def _make_source(self, kind: str, host: str | None, path: Path | None) -> Source:
        if kind == "registry" and host is not None:
            return self._registry(host, "")
        if kind == "archive" and path is not None:
            from airgap.endpoints.archive import Archive

            refuse_other(path, ARCHIVE)
            return Archive(path)
        if kind == "oci" and path is not None:
            from airgap.endpoints.layout import Layout

            refuse_other(path, LAYOUT)
            return Layout(path)
        if kind.startswith(("https://", "http://")):
            return self._download(kind)
        return self._engine(kind)

    def target(self, text: str, *, pin: bool | None = None) -> Target:
        """Return the target that `--to` names. Raises `UsageError` otherwise. `pin`: see `Containerd`."""
        if has_secret(text) or (text.startswith("registry:") and "@" in text):
            want = "registry:HOST[:PORT][/PREFIX], or another target, without a login"
            raise UsageError("a login in the target", subject="--to", want=want, hint=LOGIN_HINT)
        if (meant := meant_target(text)) is not None:
            raise UsageError("not a target", subject=text, want=TARGETS, hint=f"did you mean {meant}?")
        kind, _, rest = text.partition(":")
        if pin is not None and kind != "containerd":
            raise UsageError("--pin and --no-pin need a containerd target", want="--to containerd", got=text)
        if kind in ("docker", "podman"):
            return self._engine(text)
        if kind == "containerd":
            from airgap.endpoints.containerd import Containerd

            return Containerd(text, pin=pin)
        if kind in ("k3s", "rke2", "k0s"):
            from airgap.endpoints.images_folder import ImagesFolder

            folder = ImagesFolder(text)
            folder.refuse_absent()
            return folder
        if kind == "registry" and rest:
            host, _, prefix = rest.partition("/")
            return self._registry(host, prefix)
        if kind == "oci" and rest:
            from airgap.endpoints.layout import Layout

            return Layout(Path(rest))
        if kind == "archive" and rest:
            from airgap.endpoints.archive import ArchiveFile

            return ArchiveFile(Path(rest))
        if kind == "files" and rest:
            return files_folder(Path(rest))
        raise UsageError("not a target", subject=text, want=TARGETS)

    def _engine(self, text: str) -> "DockerEngine":
        from airgap.endpoints.docker.engine import DockerEngine

        return DockerEngine(text, ssh=self._dial_engine, proxy=_proxy)

    def _dial_engine(self, url: str, program: str) -> "Dial":
        from airgap.endpoints.ssh import Ssh

        return (self.ssh or Ssh()).dial_engine(url, program)

    def _mirrors_of(self, host: str) -> tuple[str, ...]:
        mirrors = self.registries.mirror if isinstance(self.registries, PullAccess) else None
        pairs = [text.partition("=") for text in mirrors or ()]
        for registry, _, mirror in pairs:
            if (meant := meant_host(registry)) is not None:
                hint = f"did you mean {meant}={mirror}?"
                raise UsageError("not a registry name", subject=registry, want="REGISTRY=MIRROR", hint=hint)
            if not registry or not mirror:
                raise UsageError("not a mirror", subject=registry or mirror, want="REGISTRY=MIRROR")
        return tuple(mirror for registry, _, mirror in pairs if registry == host)

    def _registry(self, host: str, prefix: str) -> "Registry":
        from airgap.endpoints.registry import Registry

        return Registry(host, options=self._options(host, prefix))

    def _download(self, url: str) -> "Download":
        """Return the file at an address. Raises `UsageError` for HTTP without TLS that nobody allowed."""
        from airgap.endpoints.registry.address import base_url
        from airgap.endpoints.registry.download import Download

        host = urlsplit(url).netloc
        options = self._options(host, "")
        if url.startswith("http://") and base_url(host, options).startswith("https://"):
            raise UsageError(
                "the address is plain HTTP", subject=url, want="https",
                hint=f"if the server has no TLS, use --plain-http {host}",
            )  # fmt: skip
        return Download(url, options)

    def _options(self, host: str, prefix: str) -> "RegistryOptions":
        from airgap.endpoints.docker.logins import DockerLogins
        from airgap.endpoints.registry import RegistryOptions
        from airgap.endpoints.registry.config import trusted_hosts

        plain_http = self.registries.plain_http or []
        for named in plain_http:
            if (meant := meant_host(named)) is not None:
                hint = f"did you mean --plain-http {meant}?"
                raise UsageError("not a registry name", subject=named, want="HOST[:PORT]", hint=hint)
        return RegistryOptions(
            plain_hint=self._plain_hint(host),
            plain_http=True if host in plain_http else None,
            ca_file=self.registries.ca_file,
            credentials=DockerLogins(),
            mirrors=self._mirrors_of(host),
            trusted_hosts=trusted_hosts(host, os.environ),
            connections=max(self.connections, 2 * METADATA_JOBS),  # half of them for attachments
            piece_connections=min(2 * self.connections, MAX_PIECE_CONNECTIONS),
            prefix=prefix,
            notice=lambda text: console.say(f"{printable(text)}\n"),
        )

    def _plain_hint(self, host: str) -> str | None:
        """Return the hint for a `host` that speaks HTTP, if --plain-http names it without its port."""
        name, _, port = host.rpartition(":")
        bare = {named.partition(":")[0] for named in self.registries.plain_http or ()}
        return (
            f"--plain-http needs the exact host and port: --plain-http {host}"
            if port and name in bare
            else None
        )


def files_folder(path: Path) -> FilesTarget:
    """Return the folder for the files of a bundle."""
    from airgap.endpoints.files_folder import FilesFolder

    return FilesFolder(path.absolute())


def _proxy(url: str) -> str | None:
    """Return the proxy for an engine's URL, from the same variables as the docker CLI."""
    from airgap.endpoints.registry.proxies import Proxies

    proxy = Proxies.of(os.environ).choose(url)
    return None if proxy is None else proxy.with_login
