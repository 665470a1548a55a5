"""Two sites, a stick and targets in one folder, and airgap run in a fork of this process.

The folder has the same path in every run, so that nothing in it tells one run from another.
"""

import gc
import importlib
import json
import os
import pkgutil
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import airgap
from airgap.admin.init_site import set_up
from airgap.admin.install_root import install_root
from airgap.cli.main import main
from airgap.site import Site
from airgap.trust import age
from tests.faults.ptrace import Fault, Outcome, trace
from tests.support.images import Image, Layer, make_image, make_index, noise, write_layout
from tests.support.registry import FakeRegistry
from tests.support.sshd import Sshd, make_key
from tests.support.waits import attempts

PASSPHRASE = "correct horse"
_WORK_FACTOR = 10
"""Of backups: a guess may be cheap here."""
ONE, TWO, MULTI = (f"registry.test/{name}:1" for name in ("one", "two", "multi"))
OLD = "registry.test/old:1"
"""An image that the target has before, and no bundle touches."""


def fault_images(large: int = 1_200_000) -> dict[str, Image]:
    """Two images that share a layer of more than one buffer, and an index of two platforms."""
    base = Layer.of({"base.bin": noise(large, 1)}, "none")
    tops = {name: Layer.of({"top": noise(700, seed)}) for seed, name in ((2, ONE), (3, TWO))}
    both = [
        make_image([Layer.of({"bin": noise(500, seed)})], platform)
        for seed, platform in ((4, "linux/amd64"), (5, "linux/arm64"))
    ]
    images = {name: make_image([base, top], label=name) for name, top in tops.items()}
    return {**images, MULTI: make_index(both)}


def old_images() -> dict[str, Image]:
    """What a target has before: one name that stays, and one that is going to mean something else."""
    layer = Layer.of({"old": noise(900, 9)})
    return {OLD: make_image([layer], label="old"), ONE: make_image([layer], label="before")}


@dataclass
class World:
    """Where a story happens. `folder` is what faults are for; beside it are templates and logs."""

    work: Path
    extra: dict[str, str] = field(default_factory=dict)
    """Further words that a story's command may name in braces."""

    registry: FakeRegistry | None = None
    """A target, or a source, where the story has one."""
    registry_images: Mapping[str, Image] = field(default_factory=old_images)
    """What the registry has at the beginning of each run."""
    nearby: tuple[str, ...] = ()
    """Files that the command names without a folder, because they are in the one that it runs in: `folder`."""

    def __post_init__(self) -> None:
        self.work = self.work.resolve()
        self.work.mkdir(parents=True, exist_ok=True)
        self._stack = ExitStack()

    def start_registry(self) -> None:
        """A registry; it has `registry_images` at the beginning of each run."""
        self.registry = self._stack.enter_context(FakeRegistry())
        self.extra["registry"] = self.registry.host

    def start_far(self) -> None:
        """A host, whose SFTP server does what `orders` say; its folder is one of ours."""
        ssh = self.work / "ssh"
        ssh.mkdir(exist_ok=True)
        self.order((), None)
        key = make_key(ssh / "id")
        root = Path(__file__).parents[2]
        serve = f"cd {root} && exec {sys.executable} -m tests.faults.far {self.orders}"
        (ssh / "sftp").write_text(f"#!/bin/sh\n{serve}\n")
        (ssh / "sftp").chmod(0o755)
        host = self._stack.enter_context(Sshd(ssh / "far", key, sftp=str(ssh / "sftp")))
        (ssh / "known_hosts").write_text(host.known_line)
        self.extra |= {"far": host.address, "key": str(key), "known": str(ssh / "known_hosts")}

    @property
    def orders(self) -> Path:
        return self.work / "ssh" / "orders.json"

    def order(self, classes: Sequence[str], fault: Fault | None) -> None:
        """Tell the far side what to do in its next session."""
        value = {"classes": list(classes), "folder": str(self.folder), "home": str(self.folder / "far")}
        value |= {"what": fault.what, "nth": fault.nth, "on": fault.on} if fault else {"what": ""}
        self.orders.write_text(json.dumps(value))
        self.orders.with_name("done.json").unlink(missing_ok=True)

    def far_outcome(self, code: int) -> Outcome:
        """What the far side did in its session."""
        done = self.orders.with_name("done.json")
        for _ in attempts(limit=120):  # it is absent where the session never began
            if done.exists():
                break
        return Outcome(code, **json.loads(done.read_text())) if done.exists() else Outcome(code)

    def close(self) -> None:
        """Stop what was started."""
        self._stack.close()

    @property
    def folder(self) -> Path:
        return self.work / "run"

    @property
    def online(self) -> Path:
        return self.folder / "hq"

    @property
    def offline(self) -> Path:
        return self.folder / "plant"

    @property
    def stick(self) -> Path:
        return self.folder / "stick"

    @property
    def target(self) -> Path:
        return self.folder / "target"

    @property
    def bundle(self) -> Path:
        return self.stick / "edge-0001"

    # -- templates

    def begin(self, images: Mapping[str, Image] | None = None) -> None:
        """Both sites, the images in an OCI layout, and the manifest; no bundle yet."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.stick.mkdir(parents=True)
        now = datetime.now(UTC).replace(microsecond=0)
        set_up(
            self.online,
            "alice",
            "hq",
            algorithm="ecdsa-p256",
            passphrase=PASSPHRASE.encode,
            now=now,
        )
        root = Site(self.online).root()
        install_root(self.offline, "plant-7", root, root.fingerprint)
        write_layout(self.folder / "source", dict(images or fault_images()))
        text = f"version: 1\nname: edge\nplatforms: all\nimages:\n  - oci: {self.folder}/source\n"
        (self.folder / "stack.yaml").write_text(text)

    def must(self, side: Path, *words: object) -> None:
        """A command of the set-up, which must work."""
        code = self.run(side, words)
        assert code == 0, (words, code, self.error())

    def keep(self) -> None:
        """What is there now is the beginning of each run."""
        shutil.rmtree(self.work / "template", ignore_errors=True)
        shutil.copytree(self.folder, self.work / "template")

    def again(self) -> None:
        """Stand at the beginning."""
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.work / "template", self.folder)
        if self.registry is not None:
            self.registry.blobs.clear()
            self.registry.manifests.clear()
            for name, image in self.registry_images.items():
                repository, _, tag = name.removeprefix("registry.test/").partition(":")
                self.registry.add(repository, tag, image)

    # -- running

    def words(self, words: Sequence[object]) -> list[str]:
        names = {"run": str(self.folder), **self.extra}
        return [str(word).format(**names) for word in words]

    def run(self, side: Path, words: Sequence[object], delay: float | None = None) -> int:
        """A command in a fork, without a fault; with a delay, killed after so many seconds."""
        child = os.fork()
        if not child:
            code = 70
            try:
                code = self._child(side, words)()
            finally:
                os._exit(code)
        if delay is not None:
            time.sleep(delay)
            os.kill(child, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

    def traced(
        self, side: Path, words: Sequence[object], classes: Sequence[str], fault: Fault | None = None
    ) -> Outcome:
        """A command in a fork, with its calls of these classes counted, and a fault in one."""
        return trace(self._child(side, words), self.folder, classes, fault)

    def _child(self, side: Path, words: Sequence[object]) -> Callable[[], int]:
        arguments = self.words(words)

        def run() -> int:
            os.environ.update(AIRGAP_HOME=str(side), AIRGAP_PASSPHRASE=PASSPHRASE, HOME=str(self.work))
            gc.disable()  # a file that nobody closes is to be closed by nobody, always or never
            os.chdir(self.folder if self.nearby else self.work)
            age.WORK_FACTOR = _WORK_FACTOR
            for number, name in enumerate(("in", "out", "err")):
                flags = os.O_RDWR | os.O_CREAT | os.O_TRUNC
                fd = os.open("/dev/null" if name == "in" else self.work / name, flags, 0o644)
                os.dup2(fd, number)
                os.close(fd)
            sys.stdin, sys.stdout, sys.stderr = (
                open(number, mode, closefd=False)  # noqa: SIM115 - as long as the process
                for number, mode in enumerate("rww")
            )
            try:
                return main(arguments)
            finally:
                sys.stdout.flush()
                sys.stderr.flush()

        return run

    def error(self) -> str:
        """What the last command said on stderr."""
        return (self.work / "err").read_text(errors="replace")


def fast_folder() -> Path:
    """Memory where there is some: it takes the same calls, and each run begins with a copy of all files."""
    memory = Path("/dev/shm")
    return memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())


def warm_up() -> None:
    """Import all of airgap, so that no run opens modules."""
    for module in pkgutil.walk_packages(airgap.__path__, "airgap."):
        if module.name != "airgap.kit.install" and not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def seeded(*words: object) -> random.Random:
    """The same numbers for the same words, on every machine."""
    return random.Random(" ".join(map(str, words)))
