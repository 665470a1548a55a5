"""Tars as the world writes, packs, repacks and breaks them."""

import gzip
import tarfile
from pathlib import Path

import zstandard

from airgap.bundle.tar_entries import header, padding
from tests.support.forms import NAME, ONE, Case, archives, below, check, docker_files, tarred
from tests.support.saves import tar
from tests.unit.bundle.test_tar_entries import END_OF_ARCHIVE, archive, member, patched, pax
from tests.world.table import replays

PADDED_FRAME = b"\x50\x2a\x4d\x18\x04\x00\x00\x00size"


def _mac(path: Path) -> Path:
    raw = b""
    for name, content in ONE.items():
        mark = f"._{name.rpartition('/')[2]}"
        where = name.replace(name.rpartition("/")[2], mark)
        raw += header(where, 4) + b"\0\5\x16\7" + padding(4)
        raw += pax((b"LIBARCHIVE.xattr.com.apple.provenance", b"AQID"))
        raw += header(name, len(content)) + content + padding(len(content))
    path.write_bytes(raw + END_OF_ARCHIVE)
    return path


def _python(path: Path) -> Path:
    members = [(member(f"./{name}", mtime=1.5), content) for name, content in ONE.items()]
    path.write_bytes(archive(*members, form=tarfile.PAX_FORMAT))
    return path


def _large(path: Path, size: bytes | None) -> Path:
    """A sparse file with an entry of 9 GiB in front; `size` is what its header says of that."""
    large = 9 << 30
    block = header("large", large if size is None else 0)
    if size is not None:
        block = pax((b"size", b"%d" % large)) + patched(block, 124, size)
    with path.open("wb") as out:
        out.write(block)
        out.seek(large, 1)
        out.write(tar(ONE))
    return path


CASES = {
    "rke2": (
        archives(
            "RKE2 and k3s", "publish their images as `.tar.zst` and `.tar.gz`", "RKE2 documentation, Air-Gap Install",
            "both are read as a stream, without unpacking to disk",
        ),
        Case(tarred(ONE, zstandard.compress, "rke2-images.linux-amd64.tar.zst"), names=(NAME,)),
    ),
    "pzstd": (
        archives(
            "pzstd", "begins each file with a skippable frame", "facebook/zstd contrib/pzstd/SkippableFrame.h",
            "it is recognised as zstd, and all frames are read",
        ),
        Case(
            tarred(ONE, lambda raw: b"".join(PADDED_FRAME + zstandard.compress(raw[i : i + 999])
                                             for i in range(0, len(raw), 999))),
            names=(NAME,),
        ),
    ),
    "pigz": (
        archives(
            "gzip", "concatenated files are one stream of several members", "RFC 1952, section 2.2",
            "all members are read",
        ),
        Case(tarred(ONE, lambda raw: gzip.compress(raw[:700]) + gzip.compress(raw[700:])), names=(NAME,)),
    ),
    "nix": (
        archives(
            "Nix dockerTools.buildImage", "writes a gzip'd `docker save` tar", "NixOS/nixpkgs#292760",
            "it is read as it is",
        ),
        Case(tarred(docker_files(), gzip.compress, "image.tar.gz"), names=(NAME,)),
    ),
    "xz": (
        archives(
            "docker load", "takes archives packed by xz and bzip2 too", "Docker documentation, docker image load",
            "refused with the command that unpacks it",
        ),
        Case(tarred(ONE, lambda raw: b"\xfd7zXZ\0" + raw), refused=r"compressed archive.*\n.*unxz "),
    ),
    "ctr truncated": (
        archives(
            "ctr images export", "may end with exit code 0 and a truncated archive", "devantler-tech/ksail#6488",
            "reported, with the file's name",
        ),
        Case(tarred(ONE, lambda raw: raw[:2048]), refused="truncated archive: .*x.tar.*\n.*again"),
    ),
    "cut packed": (
        archives(
            "a release page", "may offer a gzip'd archive that ends too early", "nyph-infosec/daggerboard#13",
            "a truncated gzip is reported as such, with the file's name",
        ),
        Case(tarred(ONE, lambda raw: gzip.compress(raw)[:300]), refused="damaged or truncated gzip file: .*x.tar"),
    ),
    "failed save": (
        archives(
            "Docker", "leaves an empty file when there is nothing to save", "moby/moby#17809",
            "reported, with the file's name",
        ),
        Case(tarred(ONE, lambda _: b""), refused="empty file: .*x.tar"),
    ),
    "empty tar": (
        archives(
            "ctr images export of containerd 2.x", "may end with exit code 0 and a tar of zeros alone", "measured",
            "reported as empty, with the file's name",
        ),
        Case(tarred({}), refused="empty tar: .*x.tar"),
    ),
    "old tail": (
        archives(
            "nerdctl", "`save -o` over a larger file leaves the old archive's end behind the new one",
            "containerd/nerdctl#5160", "refused: the bytes after the end may be anything",
        ),
        Case(tarred(ONE, lambda raw: raw + raw[-4000:] + b"x"), refused="data after the end of the archive.*x.tar"),
    ),
    "dot names": (
        archives(
            "tar and shutil.make_archive", "begin each name with `./` when they pack the folder `.`", "docker/cli#2525",
            "read as if it did not",
        ),
        Case(tarred(below("./", ONE)), names=(NAME,)),
    ),
    "in a folder": (
        archives(
            "Zarf", "puts the OCI layout of a package into its folder `images/`", "zarf-dev/zarf#1324",
            "the one folder with a layout is entered",
        ),
        Case(tarred(below("export/images/", ONE)), names=(NAME,)),
    ),
    "two folders": (
        archives(
            "OCI image layouts", "have oci-layout and index.json at their root; a tar of two folders has two roots",
            "OCI image-spec 1.1, image-layout.md",
            "refused with both folders: it is not clear which is meant",
        ),
        Case(tarred(below("a/", ONE) | below("b/", ONE)), refused=r"several OCI layouts in one tar.*a, b"),
    ),
    "macOS": (
        archives(
            "bsdtar on macOS", "adds `._` files and extended attributes to every entry", "moby/moby#47517",
            "they are ignored",
        ),
        Case(lambda folder: _mac(folder / "x.tar"), names=(NAME,)),
    ),
    "python": (
        archives(
            "Python 3.8 and later", "shutil.make_archive writes pax headers with `mtime`", "docker/cli#2525",
            "they are read",
        ),
        Case(lambda folder: _python(folder / "x.tar"), names=(NAME,)),
    ),
    "git": (
        archives(
            "git archive", "begins a tar with a global pax header", "moby/moby#41496", "a comment in it is ignored",
        ),
        Case(tarred(ONE, lambda raw: pax((b"comment", b"c0ffee"), flag=b"g") + raw), names=(NAME,)),
    ),
    "powershell": (
        archives(
            "Windows PowerShell", "turns the output of `docker save x > x.tar` into text in UTF-16",
            "gongbell/ContractFuzzer#5", "reported, with the workaround",
        ),
        Case(tarred(ONE, lambda raw: b"\xff\xfe" + raw.decode("latin-1").encode("utf-16-le")),
             refused="a text file, not an archive: .*x.tar.*\n.*docker save -o"),
    ),
    "jib": (
        archives(
            "Jib", "writes a `docker save` tar with gzip'd layers and no index.json", "apple/container#1598",
            "it is read as it is",
        ),
        Case(tarred(docker_files()), names=(NAME,)),
    ),
    "tar-stream": (
        archives(
            "tar-stream (Node.js)", "writes as large a size as the header holds beside a pax size", "mafintosh/tar-stream#78",
            "the pax size counts, as for GNU tar, Python and Go",
        ),
        Case(lambda folder: _large(folder / "x.tar", b"77777777777\0"), names=(NAME,)),
    ),
    "Go": (
        archives(
            "docker save, ctr, skopeo, crane and all Go programs", "write the size of an entry of 8 GiB and more as a "
            "pax record, and 0 into the header", "Go documentation, archive/tar FormatPAX", "the pax size counts",
        ),
        Case(lambda folder: _large(folder / "x.tar", b"00000000000\0"), names=(NAME,)),
    ),
    "GNU": (
        archives(
            "GNU tar", "writes the size of an entry of 8 GiB and more in base 256", "GNU tar manual, Extensions to the "
            "Standard Format", "it is read, and written so by `load --to archive:`",
        ),
        Case(lambda folder: _large(folder / "x.tar", None), names=(NAME,)),
    ),
}  # fmt: skip


@replays(CASES)
def test_form(case: Case, tmp_path: Path) -> None:
    check(case, tmp_path)
