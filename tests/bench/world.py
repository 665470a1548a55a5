"""What the contenders share: the corpus, the registry it comes from, two airgap sites, the bundles."""

import fcntl
import json
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cached_property
from pathlib import Path

from tests.bench.corpus import Corpus, Image, corpus_at, push, unique
from tests.bench.measure import CommandError, Daemon
from tests.support.engines import Engine, start_docker20, start_docker28
from tests.support.parts import SYSTEM_PATH, Service
from tests.support.registries import RealRegistry
from tests.support.sid import sid_root

REPOSITORY = Path(__file__).parents[2]
AIRGAP = [sys.executable, "-m", "airgap"]

_TEMPORARY = ("tmp", "containerd/daemon/io.containerd.content.v1.content/ingest")


class World:
    """Everything is made when it is first asked for, and gone when the world closes."""

    def __init__(self, cache: Path, scale: float) -> None:
        """Raise `CommandError` when another run uses the cache folder: each would spoil the other's figures."""
        self.cache, self.scale = cache, scale
        self.folder = cache / "work"
        self._stack = ExitStack()
        cache.mkdir(parents=True, exist_ok=True)
        lock = self._stack.enter_context((cache / "lock").open("w"))
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise CommandError(f"another run is going on in {cache}") from error
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        self._stack.callback(shutil.rmtree, self.folder)

    def close(self) -> None:
        self._stack.close()

    def environment(self, home: Path | None = None) -> dict[str, str]:
        """A clean one, without proxies; for airgap with the site at `home`."""
        env = {"PATH": SYSTEM_PATH, "HOME": str(self.folder / "home"), "LC_ALL": "C.UTF-8"}
        if home is not None:
            env |= {"AIRGAP_HOME": str(home), "AIRGAP_PASSPHRASE": "correct horse"}
        return env

    @cached_property
    def corpus(self) -> Corpus:
        return corpus_at(self.cache, self.scale)

    @cached_property
    def registry(self) -> RealRegistry:
        """The source, with the whole corpus in it."""
        registry = self._stack.enter_context(RealRegistry(self.folder / "source"))
        push(self.corpus, registry.host)
        return registry

    @cached_property
    def synthetic(self) -> str:
        """The host of a registry that makes up what it serves."""
        (self.folder / "synthetic").mkdir()
        argv = [sys.executable, "-m", "tests.bench.synthetic"]
        service = Service(argv, self.folder / "synthetic" / "log")
        self._stack.callback(service.stop)
        return service.wait_for_line(r"listening on (\S+)", "the synthetic registry")[1]

    def reference(self, image: Image) -> str:
        return f"{self.registry.host}/{image.name}"

    @cached_property
    def sites(self) -> tuple[Path, Path]:
        """The homes of a sending and of a receiving site, to be copied and not used."""
        online, offline = self.folder / "online", self.folder / "offline"
        made = self.airgap(online, "init", "--owner", "bench", "--site", "hq")
        fingerprint = ("--fingerprint", made["fingerprint"])
        self.airgap(offline, "trust", "install", made["root"], "--site", "plant", *fingerprint)
        return online, offline

    def fresh_site(self, template: Path, folder: Path) -> Path:
        """A copy of a site's home that has seen nothing yet."""
        home = folder / template.name
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(template, home)
        return home

    def airgap(self, home: Path, *words: object) -> dict:
        """The JSON that an unmeasured command of airgap answers."""
        argv = [*AIRGAP, *map(str, words), "--json"]
        env = self.environment(home)
        done = subprocess.run(argv, env=env, cwd=REPOSITORY, capture_output=True, check=False)
        if done.returncode:
            raise CommandError(f"{' '.join(argv)}\n{done.stderr.decode()}")
        return json.loads(done.stdout)

    def manifest(self, name: str, references: Sequence[str]) -> Path:
        """A manifest file; the name is the stream's."""
        path = self.folder / f"{name}.yaml"
        lines = ["version: 1", f"name: {name}", "images:", *(f"  - {reference}" for reference in references)]
        path.write_text("\n".join([*lines, ""]))
        return path

    @cached_property
    def first_manifest(self) -> Path:
        return self.manifest("first", [self.reference(image) for image in self.corpus.first])

    @cached_property
    def update_manifest(self) -> Path:
        return self.manifest("update", [self.reference(image) for image in self.corpus.update])

    @cached_property
    def bundle(self) -> Path:
        """Of the first versions."""
        return self._pack(self.first_manifest)

    @cached_property
    def update(self) -> Path:
        """A full bundle of the second versions."""
        return self._pack(self.update_manifest)

    @cached_property
    def delta(self) -> Path:
        """A bundle of the second versions without what `bundle` brings."""
        images = [self.reference(image) for image in self.corpus.update]
        return self._pack(self.manifest("delta", images), "--since", self.bundle)

    def _pack(self, manifest: Path, *words: object) -> Path:
        home = self.fresh_site(self.sites[0], self.folder / f"packing-{manifest.stem}")
        return Path(self.airgap(home, "pack", manifest, "--to", self.folder / "bundles", *words)["bundle"])

    @cached_property
    def bundle_tar(self) -> Path:
        return _tar(self.bundle)

    @cached_property
    def update_tar(self) -> Path:
        return _tar(self.update)

    @cached_property
    def new_bytes(self) -> int:
        """Bytes that the second versions need and the first do not have."""
        new = unique(self.corpus.update)
        return sum(new[digest] for digest in set(new) - set(unique(self.corpus.first)))

    @cached_property
    def docker20(self) -> Engine:
        return self._stack.enter_context(start_docker20())

    @cached_property
    def docker28(self) -> Engine:
        return self._stack.enter_context(start_docker28(containerd_store=False))

    @cached_property
    def docker28c(self) -> Engine:
        return self._stack.enter_context(start_docker28(containerd_store=True))

    def sid(self, tool: str) -> list[str]:
        """The command line of a tool of the sid root, through that root's own loader.

        A chroot would cost a tool the mounts that the tests make for it.
        """
        root = sid_root()
        [loader] = root.glob("usr/lib64/ld-linux-*.so.2")
        [libraries] = root.glob("usr/lib/*-linux-gnu")
        return [str(loader), "--library-path", str(libraries), str(root / "usr/bin" / tool)]

    @contextmanager
    def empty_registry(self) -> Iterator[RealRegistry]:
        with RealRegistry(self.folder / "target") as registry:
            yield registry

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """A folder for one turn of one contender."""
        folder = self.folder / "turn"
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder)


def daemon_of(server: RealRegistry | Engine) -> Daemon:
    """The server's process, and for an engine its temporary folders."""
    temporary = [server.folder / "data" / name for name in _TEMPORARY] if isinstance(server, Engine) else []
    return Daemon(server.pid, tuple(temporary))


def _tar(folder: Path) -> Path:
    path = folder.with_suffix(".tar")
    with tarfile.open(path, "w", format=tarfile.USTAR_FORMAT) as tar:
        tar.add(folder, ".")
    return path
