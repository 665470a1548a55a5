"""Installs airgap from the kit that this file is part of: see `sh install.sh --help`.

It is in the kit as `install.py`, and needs only Python's standard library and no network.
Every file is compared with SHA256SUMS when it is copied from the medium, and only the copies are used.
airgap gets its own environment under PREFIX/lib/airgap. PREFIX/bin/airgap is switched to it once it works,
so a failed installation leaves the earlier one unchanged.
"""

import argparse
import contextlib
import errno
import fcntl
import hashlib
import itertools
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

FOLDERS = ("wheels", "requirements", "sig")
MAX_FILES = 5000
MAX_BYTES = 2 << 30
"""The limit in bytes of all files, far above any kit."""

NOTHING = "nothing was installed"
_REFUSED = f"be root, or choose another folder with --prefix; {NOTHING}"
_FULL = f"free some space at the prefix, or choose another folder with --prefix; {NOTHING}"
_HINTS = dict.fromkeys((errno.EACCES, errno.EPERM, errno.EROFS), _REFUSED)
_HINTS |= dict.fromkeys((errno.ENOSPC, errno.EDQUOT), _FULL)
GLIBC = (2, 28)
"""The oldest C library that the wheels of a kit for `linux-...` run on."""

SUMS, STATEMENT, ENVELOPE = "SHA256SUMS", "statement.json", "kit.dsse.json"
SIGNED_BY_HAND = "VERIFY.txt in the kit has the commands that check it before anything of it runs"
_LINE = re.compile(
    r"([0-9a-f]{64})  ((?:wheels/|requirements/)?[A-Za-z0-9][A-Za-z0-9._+!-]{0,250})", re.ASCII
)
_SIGNATURE = re.compile(r"sig/[0-9a-f]{16}\.sig", re.ASCII)
_VERSION = re.compile(r"(\d{1,9}(?:\.\d{1,9})*)(?:(a|b|rc)(\d{1,9}))?(?:\.dev(\d{1,9}))?(?:\+.*)?", re.ASCII)
_PIP = ["--no-index", "--require-hashes", "--only-binary=:all:", "--no-cache-dir", "--no-input"]
_PIP += ["--disable-pip-version-check", "--no-warn-script-location"]
_WORKS = "import airgap.bundle.compression, airgap.cli.app, airgap.manifest, airgap.trust.keys"
"""Loads the native packages, so that an incompatible library is found before the switch."""


class KitError(Exception):
    """An error, with a hint."""

    def __init__(self, what: str, hint: str = NOTHING) -> None:
        super().__init__(what)
        self.hint = hint


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    options = _options(arguments)
    os.umask(0o022)
    prefix = options.prefix.absolute()
    kit, command = Path(__file__).resolve().parent, prefix / "bin" / "airgap"
    before = _installed(command)
    try:
        install(kit, prefix, options.key, allow_downgrade=options.allow_downgrade)
    except KitError as error:
        words, code, hint = f"error: {_printable(str(error))}\nhint: ", 1, error.hint
    except OSError as error:
        what = f"{error.filename or prefix}: {error.strerror or error}"
        words, code, hint = f"error: {_printable(what)}\nhint: ", 1, _HINTS.get(error.errno or 0, NOTHING)
    except KeyboardInterrupt:
        words, code, hint = "interrupted: ", 130, NOTHING
    else:
        return 0
    if _installed(command) not in (None, before):  # it came after the switch
        hint = f"{command} was installed nevertheless; run this again to remove the rest of the old one"
    sys.stderr.write(f"{words}{hint}\n")
    return code


def _installed(command: Path) -> tuple[Path, int] | None:
    """Return the environment of the command, and when it was completed; None if there is none."""
    env = Path(os.path.realpath(command)).parent.parent
    with contextlib.suppress(OSError):
        return env, (env / "complete").stat().st_mtime_ns
    return None


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    home = os.environ.get("HOME")
    default = "/usr/local" if os.geteuid() == 0 else f"{home}/.local" if home else None
    parser = argparse.ArgumentParser(
        prog="sh install.sh",
        description="Install airgap from this kit, without a network. Installing again upgrades or repairs.",
        epilog=f"This installer is on the medium that it checks, so it proves nothing: {SIGNED_BY_HAND}.",
    )
    add = parser.add_argument
    where = "the command is PREFIX/bin/airgap (%(default)s)"
    add("--prefix", type=Path, default=default, required=not default, help=where)
    add("--key", type=Path, metavar="FILE", help="the signer's public key, to check with; not from the kit")
    add("--allow-downgrade", action="store_true", help="install even if the installed version is newer")
    return parser.parse_args(arguments)


def install(kit: Path, prefix: Path, key: Path | None, *, allow_downgrade: bool = False) -> None:
    """Check the kit and install its airgap as `prefix`/bin/airgap. Raises `KitError` or `OSError`."""
    home, command = prefix / "lib" / "airgap", prefix / "bin" / "airgap"
    _refuse_foreign_command(command, home)
    if not (kit / ENVELOPE).is_file():
        raise KitError(f"not a kit, or unfinished: no {ENVELOPE} in {kit}", "make it again: airgap kit")
    sums = read_sums(kit)
    target = fitting(kit)
    say = sys.stdout.write
    version, pip = _wheel(sums, "airgap").split("-")[1], _wheel(sums, "pip")
    before = command.resolve().parents[1] if command.exists() else None
    with _held(home), _staging(home, before) as staging:
        if key is None:
            say(f"signature: not checked, because no --key was given. {SIGNED_BY_HAND}\n")
        else:
            say(f"signature: good, by key {check_signature(kit, key, sums, staging)}\n  (as far as a script ")
            say(f"from the medium can tell: {SIGNED_BY_HAND})\n")
        _refuse_older(version, command, allow=allow_downgrade)
        copy_checked(kit, staging, sums)
        say(f"files: {len(sums)}, all as in {SUMS}\n")
        name = f"{version}-{target.rpartition('-')[2]}-{_sha256(kit / SUMS)[:12]}"
        env = next(filter(works, sorted({home / name, *home.glob(f"{name}.*")})), None)
        whole = env is not None
        if env is None:  # one of this name that does not work here may do so elsewhere: it stays as it is
            taken = os.path.lexists(home / name)
            env = Path(tempfile.mkdtemp("", f"{name}.", home)) if taken else home / name
            build(env, staging, target, pip)
        _switch(command, env)
        _clean(home, {env, before})  # processes may still run on the one before
    done = "was installed already" if whole and before == env.resolve() else "installed"
    say(f"{done}: airgap {version} at {command}\n")
    if str(command.parent) not in os.environ.get("PATH", "").split(":"):
        say(f"  (the shell does not find it: add {command.parent} to PATH)\n")


def read_sums(kit: Path) -> dict[str, str]:
    """Return the digests in SHA256SUMS by name, if exactly the listed files exist. It reads no other file."""
    sums: dict[str, str] = {}
    for line in _read(kit / SUMS).decode("ascii", "replace").splitlines():
        match = _LINE.fullmatch(line)
        if match is None or match[2] in sums:
            raise KitError(f"not a line of {SUMS}: {line[:100]!r}")
        sums[match[2]] = match[1]
    names = set(itertools.islice(_files(kit), MAX_FILES))
    if len(names) == MAX_FILES:
        raise KitError(f"not a kit: {MAX_FILES} files or more in {kit}")
    listed = {*sums, SUMS, STATEMENT, ENVELOPE}
    for name in sorted(listed - names):
        raise KitError(f"missing file: {kit / name}", "get the kit again; nothing was installed")
    for name in sorted(names - listed):
        if not _SIGNATURE.fullmatch(name):
            raise KitError(f"file that {SUMS} does not list: {kit / name}")
    return sums


def _wheel(sums: dict[str, str], project: str) -> str:
    """Return the name of the only wheel of a project."""
    wheels = [name for name in sums if name.startswith(f"wheels/{project}-")]
    if len(wheels) != 1:
        raise KitError(f"not a kit: want one wheel of {project}, got {len(wheels)}")
    return wheels[0]


def _refuse_older(version: str, command: Path, *, allow: bool) -> None:
    """Refuse an older airgap, which may lack checks of the installed one, although its signature is valid."""
    installed = Path(os.path.realpath(command)).parents[1].name.partition("-")[0]
    if not allow and os.path.lexists(command) and place_of(version) < place_of(installed):
        raise KitError(
            f"older than what is installed: want airgap {installed} or later, got {version}",
            "an old version may lack checks; --allow-downgrade installs it anyway; nothing was installed",
        )


def place_of(version: str) -> tuple[list[int], str, int, bool, int]:
    """Return a sort key for versions of airgap, in the order of PEP 440: 1.0.dev1 < 1.0rc1 < 1.0 = 1.0.0."""
    match = _VERSION.fullmatch(version)
    if match is None:
        raise KitError(f"not a version of airgap: {version[:80]!r}")
    release = re.sub(r"(\.0+)+$", "", match[1]).split(".")
    phase = "~" if match[2] is None and match[4] is None else match[2] or ""  # no letter comes after ~
    return [int(part) for part in release], phase, int(match[3] or 0), match[4] is None, int(match[4] or 0)


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    """Open a regular file for reading; links, pipes and devices are refused."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO):
            raise KitError(f"not a regular file: {path}") from error
        raise
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise KitError(f"not a regular file: {path}")
        yield file


def _read(path: Path) -> bytes:
    with _opened(path) as file:
        return file.read(1 << 20)


def _files(kit: Path) -> Iterator[str]:
    """Yield everything in the folders of a kit except these folders; a link counts as a file."""
    for folder in ("", *FOLDERS):
        with os.scandir(kit / folder) as entries:
            for entry in entries:
                name = f"{folder}/{entry.name}".lstrip("/")
                if name not in FOLDERS or not entry.is_dir(follow_symlinks=False):
                    yield name


def fitting(kit: Path) -> str:
    """Return the name of this machine and its Python, if the kit is for it: `linux-x86_64-py3.11`."""
    target = f"{_platform()}-py{sys.version_info[0]}.{sys.version_info[1]}"
    targets = sorted(path.stem for path in (kit / "requirements").glob("*.txt"))
    if target not in targets:
        hint = "make one that is: airgap kit --platform ... --python ...; or try PYTHON=... sh install.sh"
        raise KitError(f"this kit is not for this machine: want {', '.join(targets)}, got {target}", hint)
    return target


def _platform() -> str:
    """Return `linux-x86_64`, or `musllinux-x86_64` if the C library is musl."""
    platform, libc = sysconfig.get_platform(), _glibc()
    if sys.maxsize < 1 << 32:  # the platform is named after the kernel
        raise KitError(f"there are no wheels for this Python: want 64 bits, got 32 on {platform}")
    if sys.implementation.name != "cpython":
        raise KitError(f"there are no wheels for this Python: want cpython, got {sys.implementation.name}")
    if platform.startswith("linux-") and libc is None:
        return f"musl{platform}"
    if libc is not None and libc < GLIBC:
        want, got = (".".join(map(str, version)) for version in (GLIBC, libc))
        raise KitError(f"this system is too old for the wheels: want glibc {want} or later, got {got}")
    return platform


def _glibc() -> tuple[int, ...] | None:
    with contextlib.suppress(ValueError, OSError):  # musl knows no such name
        name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
        return tuple(map(int, version.split(".")[:2])) if name == "glibc" else None
    return None


def check_signature(kit: Path, key: Path, sums: dict[str, str], staging: Path) -> str:
    """Return the id of `key`. Raises `KitError` unless it has signed the statement, which lists `sums`."""
    if key.resolve().is_relative_to(kit):
        raise KitError(f"a key from the kit proves nothing: {key}", "get it from a person whom you trust")
    der = _openssl("pkey", "-pubin", "-in", str(key), "-outform", "DER")
    if der is None:
        raise KitError(f"openssl cannot read the key: {key}", "want it in PEM: airgap key show OWNER")
    keyid = hashlib.sha256(der).hexdigest()
    signature = kit / "sig" / f"{keyid[:16]}.sig"
    if not signature.is_file():
        raise KitError(f"not signed by this key: want {signature}", f"is it the right key? {NOTHING}")
    statement = _read(kit / STATEMENT)
    message = staging / ".pae"
    message.write_bytes(b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(statement), statement))
    hashed = ("-verify", str(key), "-signature", str(signature), str(message))
    plain = ("-inkey", str(key), "-rawin", "-in", str(message), "-sigfile", str(signature))
    tries = [("dgst", name, *hashed) for name in ("-sha256", "-sha384")]  # P-256, P-384
    if all(_openssl(*words) is None for words in (*tries, ("pkeyutl", "-verify", "-pubin", *plain))):
        raise KitError(f"wrong signature: {signature}", f"the kit is not what was signed: {NOTHING}")
    listed = {item["name"]: item["digest"]["sha256"] for item in json.loads(statement)["subject"]}
    if listed != {**sums, SUMS: hashlib.sha256(_read(kit / SUMS)).hexdigest()}:
        raise KitError(f"{SUMS} is not the list that was signed")
    return keyid


def _openssl(*words: str) -> bytes | None:
    """Return the output of openssl; None if it fails."""
    if shutil.which("openssl") is None:
        raise KitError("no openssl here, so no signature can be checked", SIGNED_BY_HAND)
    done = subprocess.run(["openssl", *words], capture_output=True, check=False, stdin=subprocess.DEVNULL)
    return done.stdout if done.returncode == 0 else None


def copy_checked(kit: Path, staging: Path, sums: dict[str, str]) -> None:
    """Copy each file of `sums`, and raise `KitError` if a copy differs from its listed digest."""
    left = MAX_BYTES
    for name, sha256 in sums.items():
        copy = staging / name
        copy.parent.mkdir(exist_ok=True)
        with _opened(kit / name) as source, copy.open("xb") as target:
            left -= os.fstat(source.fileno()).st_size
            if left < 0:
                raise KitError(f"too large for a kit: {kit / name}")
            shutil.copyfileobj(source, target)
        if (got := _sha256(copy)) != sha256:
            raise KitError(f"wrong digest: {kit / name}, want {sha256}, got {got}")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _held(home: Path) -> Iterator[None]:
    """Lock out other installations; the lock ends with the process."""
    home.mkdir(parents=True, exist_ok=True)
    if os.statvfs(home).f_flag & os.ST_NOEXEC:
        raise KitError(f"programs cannot run from a noexec mount: {home}", _REFUSED)
    with (home / ".lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise KitError(f"another installation is running: {home}", "wait until it ends") from error
        except OSError as error:
            if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS):
                raise
        yield


@contextlib.contextmanager
def _staging(home: Path, before: Path | None) -> Iterator[Path]:
    """Make a folder for the copies, on the disk of the installation."""
    envs = (path.parent for path in home.glob("*/pyvenv.cfg"))
    left = (env for env in envs if env.resolve() != before and not (env / "complete").exists())
    for path in (*home.glob(".staging-*"), *left):  # of runs that were killed
        shutil.rmtree(path)
    with tempfile.TemporaryDirectory(prefix=".staging-", dir=home) as folder:
        yield Path(folder)


def build(env: Path, staging: Path, target: str, pip: str) -> None:
    """Make the environment `env` from the checked wheels in `staging`; if that fails, remove it."""
    python = str(env / "bin" / "python")
    try:
        _run(sys.executable, "-I", "-m", "venv", "--without-pip", str(env), tmp=staging)
        env.chmod(0o755)
        words = [*_PIP, "--find-links", str(staging / "wheels")]
        words += ["--requirement", str(staging / "requirements" / f"{target}.txt")]
        _run(python, "-I", str(staging / pip / "pip"), "install", *words, tmp=staging)
        _run(python, "-I", "-c", _WORKS)
        (env / "complete").touch()
    except BaseException:
        shutil.rmtree(env, ignore_errors=True)
        raise


def works(env: Path) -> bool:
    """Return whether the environment was completed, and its Python still works."""
    with contextlib.suppress(KitError, OSError):
        (env / "complete").stat()
        _run(str(env / "bin" / "python"), "-I", "-c", _WORKS)
        return True
    return False


def _run(*words: str, tmp: Path | None = None) -> None:
    """Run a program without the user's settings; on failure, print its output and raise `KitError`."""
    env = {name: os.environ[name] for name in ("HOME", "PATH") if name in os.environ}
    env |= {"PIP_CONFIG_FILE": os.devnull, "LC_ALL": "C.UTF-8"} | ({"TMPDIR": str(tmp)} if tmp else {})
    done = subprocess.run(words, check=False, env=env, stdin=subprocess.DEVNULL, capture_output=True)
    if done.returncode != 0:
        sys.stderr.write(_printable((done.stdout + done.stderr).decode("utf-8", "replace")[-4000:]))
        raise KitError(f"failed, exit code {done.returncode}: {' '.join(words[:6])} ...")


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() or c == "\n" else "?" for c in text)


def _refuse_foreign_command(command: Path, home: Path) -> None:
    ours = command.is_symlink() and Path(os.path.realpath(command)).is_relative_to(home.resolve())
    if os.path.lexists(command) and not ours:
        raise KitError(f"this is another program: {command}", "move it away, or choose another --prefix")


def _switch(command: Path, env: Path) -> None:
    """Switch the command to the one in `env`, atomically."""
    command.parent.mkdir(parents=True, exist_ok=True)
    new = command.with_name(f".{command.name}.new")
    new.unlink(missing_ok=True)
    new.symlink_to(os.path.relpath(env / "bin" / "airgap", command.parent))
    new.replace(command)


def _clean(home: Path, keep: set[Path | None]) -> None:
    """Remove old environments as far as possible. Those to `keep` may be named through a link."""
    kept = {path.resolve() for path in keep if path is not None}
    for path in home.iterdir():
        if path.resolve() not in kept and path.is_dir() and (path / "pyvenv.cfg").exists():
            shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    sys.exit(main())
