"""What is fuzzed: for each kind of input the functions that read it, as one call that takes any bytes.

A target returns for input that is taken or refused in our own words; whatever else comes out is a finding.
"""

import contextlib
import gzip
import io
import struct
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from airgap.audit.receipt import Receipt
from airgap.audit.record import parse_record
from airgap.bundle.contents import read_index
from airgap.bundle.statement import Statement
from airgap.bundle.tar_entries import BLOCK, read_entries
from airgap.bundle.tar_header import parse_header
from airgap.bundle.volume_table import VolumeTable
from airgap.carry import remote_load, send_to_host
from airgap.discover.charts import discover_packed
from airgap.discover.context import Choices
from airgap.discover.discover import discover
from airgap.discover.manifest_text import manifest_text
from airgap.discover.sources import STDIN, decode
from airgap.endpoints.remote import CommandResult
from airgap.endpoints.save_stream import export_archive
from airgap.endpoints.ssh.sftp import ProtocolError, Sftp, StatusError
from airgap.errors import AirgapError, FormatError
from airgap.kit.statement import KitStatement
from airgap.manifest.chart_versions import parse_chart_version
from airgap.manifest.inventory import Inventory
from airgap.manifest.lock import Lock
from airgap.manifest.transfer import TransferManifest
from airgap.oci.documents import ImageConfig, parse_document
from airgap.oci.strict_json import parse_object
from airgap.online.chart_files import find_in_index, read_metadata
from airgap.trust.document import TrustRoot
from airgap.trust.envelope import Envelope
from tests.support.images import tar_of
from tests.support.saves import MemorySink
from tests.unit.bundle.test_tar_entries import patched
from tests.unit.endpoints.test_ssh_sftp import Channel

NAME = Path("fuzz.yaml")
SFTP_ERRORS = (StatusError, ProtocolError, EOFError)
"""What `Sftp` raises, and `SshHost` turns into ours."""


def _each(raw: bytes, *readers: Callable[[bytes], object]) -> None:
    for reader in readers:
        with contextlib.suppress(AirgapError):
            reader(raw)


def json(raw: bytes) -> None:
    _each(raw, lambda raw: parse_object(raw, "x"), lambda raw: parse_object(raw, "x", floats=False))


def statement(raw: bytes) -> None:
    _each(raw, Statement.parse, KitStatement.parse)


def documents(raw: bytes) -> None:
    _each(raw, lambda raw: parse_document(raw, None, "x"), ImageConfig.parse, read_index)


def signed(raw: bytes) -> None:
    """Envelopes, trust roots and receipts, and lines of a ledger."""
    _each(
        raw,
        lambda raw: Envelope.parse(raw, "x"),
        lambda raw: Envelope.parse(raw, "x", foreign=True),
        lambda raw: TrustRoot.parse(raw, "x"),
        Receipt.parse,
        lambda raw: parse_record(raw, "x"),
    )


def volumes(raw: bytes) -> None:
    _each(raw, lambda raw: VolumeTable.parse(raw, "x"))


def manifests(raw: bytes) -> None:
    _each(
        raw,
        lambda raw: TransferManifest.parse(raw, NAME),
        lambda raw: Lock.parse(raw, NAME),
        lambda raw: Inventory.parse(raw, "x"),
    )


def tar(raw: bytes) -> None:
    """The archive with the checksums of all headers made right, as far as they can be found."""
    with contextlib.suppress(AirgapError):
        for entry, data in read_entries(io.BytesIO(b"".join(_checked(raw)))):
            assert len(data.read()) == entry.size  # type: ignore[attr-defined]
            assert entry.name.isprintable()
            assert not {"", ".", ".."} & set(entry.name.split("/"))


def archives(raw: bytes) -> None:
    """Image archives, as an engine sends them and as they are read from a file."""
    for repack in (True, False):
        with contextlib.suppress(AirgapError):
            export_archive(io.BytesIO(raw), MemorySink(), [], lambda _: None, repack=repack)


def sftp(raw: bytes) -> None:
    """The answers of an SFTP server, after a greeting that is right."""
    hello = struct.pack(">IBI", 5, 2, 3)
    for greeting in (b"", hello, _with_extensions()):
        with contextlib.suppress(*SFTP_ERRORS):
            _talk(Sftp(Channel(greeting, raw)))  # type: ignore[arg-type]


def ssh(raw: bytes) -> None:
    """What programs on another machine print."""
    host = _Answering(raw)
    with contextlib.suppress(AirgapError):
        remote_load.has_airgap(host)  # type: ignore[arg-type]
    for code in (0, 1):
        host.code = code
        with contextlib.suppress(AirgapError):
            remote_load.check_remote_can_load(host)  # type: ignore[arg-type]
        with contextlib.suppress(AirgapError):
            remote_load.load_there(host, "x", "docker", "0" * 64, ["a"])  # type: ignore[arg-type]
    send_to_host._parse_sums(raw, 2)


def deployments(raw: bytes) -> None:
    """Files of other tools, as `discover` reads them from standard input, and the archive of a chart."""
    with contextlib.suppress(AirgapError):
        text = decode(raw, "x")
        manifest_text(discover([STDIN], root=Path(), standard_input=text), "x")
    with contextlib.suppress(AirgapError):
        chart = gzip.compress(
            tar_of({"x/Chart.yaml": b"name: x", "x/values.yaml": raw, "x/templates/x.yaml": raw})
        )
        discover_packed(chart, "x.tgz", Choices())


def charts(raw: bytes) -> None:
    """The index of a repository, the archive of a chart, and a version."""
    _each(
        raw,
        lambda raw: find_in_index(raw, "x", "x", "^1"),
        lambda raw: read_metadata(raw, "x", "x", "1.0.0"),
        lambda raw: parse_chart_version(raw.decode("utf-8", "replace")),
    )


TARGETS: dict[str, Callable[[bytes], None]] = {
    each.__name__: each
    for each in (
        json,
        statement,
        documents,
        signed,
        volumes,
        manifests,
        tar,
        archives,
        sftp,
        ssh,
        deployments,
        charts,
    )
}


class _Answering:
    """A host on which every program prints the same."""

    name = "far"

    def __init__(self, out: bytes) -> None:
        self.out, self.code = out, 0

    def run(self, argv: Sequence[str], limit: int, silence: float = 0) -> CommandResult:
        return CommandResult(self.code, self.out[:limit], self.out[:1000])


def _talk(session: Sftp) -> None:
    for call in (session.real_path, session.find, session.list, session.space):
        with contextlib.suppress(StatusError):
            call("/a")
    with contextlib.suppress(StatusError):
        session.read("/a", 100, lambda _: None)
    session.write("/a", io.BytesIO(b"abc"), 0, lambda _: None)


def _with_extensions() -> bytes:
    names = (b"fsync@openssh.com", b"statvfs@openssh.com", b"posix-rename@openssh.com")
    body = struct.pack(">BI", 2, 3) + b"".join(
        struct.pack(">I", len(n)) + n + b"\0\0\0\1" + b"1" for n in names
    )
    return struct.pack(">I", len(body)) + body


def _checked(raw: bytes) -> Iterator[bytes]:
    """The blocks of `raw`; where a header may stand, it gets its checksum."""
    at = 0
    while block := raw[at : at + BLOCK]:
        at += BLOCK
        if len(block) < BLOCK or block[257:262] != b"ustar":
            yield block
            continue
        block = patched(block, 0, b"")
        yield block
        with contextlib.suppress(FormatError):
            size = min(parse_header(block).size, len(raw))
            size += -size % BLOCK
            yield raw[at : at + size]
            at += size
