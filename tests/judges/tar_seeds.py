"""Small archives as real tools write them, to be changed."""

import base64
import io
import subprocess
import tarfile
import tempfile
from pathlib import Path

from airgap.bundle.tar_entries import END_OF_ARCHIVE, header, padding

LONG = "p" * 80 + "/" + "n" * 90
_MEMBERS: list[tuple[str, bytes, str, bytes]] = [
    ("blobs", tarfile.DIRTYPE, "", b""),
    ("blobs/one", tarfile.REGTYPE, "", b"1" * 600),
    (LONG, tarfile.REGTYPE, "", b"deep"),
    ("link", tarfile.SYMTYPE, "blobs/one", b""),
    ("hard", tarfile.LNKTYPE, "blobs/one", b""),
    ("index.json", tarfile.REGTYPE, "", b"{}"),
]


def seeds(go: Path) -> list[bytes]:
    """Archives of GNU tar, Python, Go (by the judge `go`) and airgap itself, in all formats that they write."""
    return [*_by_gnu(), *_by_python(), *_by_go(go), _by_airgap()]


def _by_gnu() -> list[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        top = Path(folder)
        for name, kind, target, content in _MEMBERS:
            path = top / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if kind == tarfile.DIRTYPE:
                path.mkdir(exist_ok=True)
            elif kind == tarfile.REGTYPE:
                path.write_bytes(content)
            elif kind == tarfile.SYMTYPE:
                path.symlink_to(target)
            else:
                path.hardlink_to(top / target)
        (top / ("n" * 120)).symlink_to("t" * 120)
        argv = ["tar", "-b", "1", "--sort=name", "--mtime=2024-01-01 00:00:00.5Z", "-C", folder, "-c", "."]
        forms = ("gnu", "oldgnu", "posix")
        made = [subprocess.run([*argv, f"--format={f}"], capture_output=True, check=True) for f in forms]
        (top / ("n" * 120)).unlink()
        made.append(subprocess.run([*argv, "--format=ustar"], capture_output=True, check=True))
    return [done.stdout for done in made]


def _by_python() -> list[bytes]:
    made = []
    for form in (tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT):
        out = io.BytesIO()
        extra = {"comment": "c0ffee"} if form == tarfile.PAX_FORMAT else {}
        with tarfile.open(fileobj=out, mode="w", format=form, pax_headers=extra) as archive:
            for name, kind, target, content in _MEMBERS:
                info = tarfile.TarInfo(name if form == tarfile.USTAR_FORMAT else name * (1 + (name == LONG)))
                info.type, info.linkname, info.size, info.mtime = kind, target, len(content), 1.5
                archive.addfile(info, io.BytesIO(content))
        made.append(out.getvalue().rstrip(b"\0"))
    return [raw + bytes(-len(raw) % 512) + END_OF_ARCHIVE for raw in made]


def _by_go(program: Path) -> list[bytes]:
    done = subprocess.run([program, "write"], capture_output=True, check=True, timeout=60)
    return [base64.b64decode(line) for line in done.stdout.splitlines()]


def _by_airgap() -> bytes:
    files = [(name, content) for name, kind, _, content in _MEMBERS if kind == tarfile.REGTYPE]
    return b"".join(header(n, len(c)) + c + padding(len(c)) for n, c in files) + END_OF_ARCHIVE
