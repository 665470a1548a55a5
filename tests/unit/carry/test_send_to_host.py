"""One bundle to one host in memory: order, resuming, proof, and what is refused."""

from collections.abc import Sequence

import pytest

from airgap.bundle.contents import ENVELOPE_FILE
from airgap.bundle.files import Folder
from airgap.carry.send_to_host import HostSender, Sent, outgoing
from airgap.carry.verify import check
from airgap.endpoints.remote import CommandResult
from airgap.errors import DigestMismatchError, SizeMismatchError, TransportError
from airgap.progress import Silent
from tests.support.bundles import Gap
from tests.support.far import MemoryHost

FOLDER = "/home/edge-0001"


@pytest.fixture
def files(gap: Gap):
    with Folder(gap.bundle) as folder:
        yield outgoing(check(folder, gap.receiver()))


@pytest.fixture
def host() -> MemoryHost:
    return MemoryHost()


def send(host: MemoryHost, files) -> Sent:
    return HostSender(host=host, sent=Sent(folder=FOLDER), files=files, progress=Silent()).run()


class TestOutgoing:
    def test_every_file_once_and_the_envelope_last(self, gap, files):
        assert sorted(file.name for file in files) == sorted(gap.files())
        assert files[-1].name == ENVELOPE_FILE
        assert {file.name: file.size for file in files} == {k: len(v) for k, v in gap.files().items()}


class TestSending:
    def test_all_arrives(self, gap, host, files):
        sent = send(host, files)
        assert host.files(FOLDER) == gap.files()
        assert (sent.files, sent.there, sent.proved_by) == (len(files), 0, "sha256sum")
        assert sent.bytes == sum(file.size for file in files)
        assert host.log[-1] == f"rename {ENVELOPE_FILE}"
        assert [line for line in host.log if line.startswith("remove")] == []

    def test_again(self, gap, host, files):
        send(host, files)
        host.log.clear()
        sent = send(host, files)
        assert (sent.files, sent.bytes, sent.there, host.log) == (0, 0, len(files), [])

    def test_at_every_break(self, gap, host, files):
        total = sum(file.size for file in files)
        for after in range(1, total + 1000, 997):
            host = MemoryHost(breaks_after=after)
            if after <= total:
                with pytest.raises(TransportError):
                    send(host, files)
                assert f"{FOLDER}/{ENVELOPE_FILE}" not in host.tree
            host.breaks_after = None
            send(host, files)
            assert host.files(FOLDER) == gap.files()

    def test_a_wrong_file_makes_the_bundle_unfinished_first(self, gap, host, files):
        send(host, files)
        host.tree[f"{FOLDER}/index.json"] = b"x"
        host.log.clear()
        sent = send(host, files)
        assert host.log[0] == f"remove {ENVELOPE_FILE}"
        assert host.log[-1] == f"rename {ENVELOPE_FILE}"
        assert sent.files == 2
        assert host.files(FOLDER) == gap.files()

    def test_a_further_signature(self, gap, host, files):
        send(host, files)
        host.tree[f"{FOLDER}/{ENVELOPE_FILE}"] = b"an earlier envelope over the same statement"
        assert send(host, files).files == 1
        assert host.files(FOLDER) == gap.files()

    def test_another_bundle(self, host, files):
        send(host, files)
        host.tree[f"{FOLDER}/statement.json"] = b"another"
        host.tree[f"{FOLDER}/{ENVELOPE_FILE}"] = b"another"
        before = dict(host.tree)
        with pytest.raises(TransportError, match="the host has another bundle with this name"):
            send(host, files)
        assert host.tree == before

    @pytest.mark.parametrize("name", ["statement.json", ENVELOPE_FILE])
    @pytest.mark.parametrize("raw", [b"damaged", None])
    def test_a_damaged_or_lost_file_is_sent_again(self, gap, host, files, name, raw):
        send(host, files)
        if raw is None:
            del host.tree[f"{FOLDER}/{name}"]
        else:
            host.tree[f"{FOLDER}/{name}"] = raw
        send(host, files)
        assert host.files(FOLDER) == gap.files()

    def test_an_unfinished_other_one_gives_way(self, gap, host, files):
        send(host, files)
        host.tree[f"{FOLDER}/statement.json"] = b"another"
        del host.tree[f"{FOLDER}/{ENVELOPE_FILE}"]
        send(host, files)
        assert host.files(FOLDER) == gap.files()

    @pytest.mark.parametrize("part", [b"", b"x", b"x" * 5000])
    def test_parts_of_whatever_size(self, gap, host, files, part):
        send(host, files)
        name = files[0].name
        raw = host.tree.pop(f"{FOLDER}/{name}")
        host.tree[f"{FOLDER}/{name}.part"] = part
        host.tree[f"{FOLDER}/{ENVELOPE_FILE}.part"] = part
        send(host, files)
        assert host.tree[f"{FOLDER}/{name}"] == raw
        assert host.files(FOLDER) == gap.files(), "no part is left"

    def test_a_whole_part_is_proved_and_not_sent(self, host, files):
        send(host, files)
        name = files[0].name
        host.tree[f"{FOLDER}/{name}.part"] = host.tree.pop(f"{FOLDER}/{name}")
        assert send(host, files).bytes == files[-1].size

    def test_a_host_that_spoils_what_it_stores(self, host, files):
        host.spoils = f"{files[0].name}.part"
        with pytest.raises(TransportError, match="the host did not store the bytes that were sent"):
            send(host, files)
        assert f"{FOLDER}/{files[0].name}" not in host.tree
        assert f"{FOLDER}/{ENVELOPE_FILE}" not in host.tree

    @pytest.mark.parametrize("part", [None, b"", b"x", b"x" * 5000])
    def test_wrong_content_here(self, gap, host, part):
        with Folder(gap.bundle) as folder:
            files = outgoing(check(folder, gap.receiver()))
            blob = next(file.name for file in files if file.name.startswith("blobs/"))
            if part is not None:
                send(host, files)
                del host.tree[f"{FOLDER}/{blob}"]
                host.tree[f"{FOLDER}/{blob}.part"] = part
            gap.flip(blob)
            with pytest.raises(DigestMismatchError, match="wrong digest"):
                send(host, files)
        assert f"{FOLDER}/{blob}" not in host.tree
        assert f"{FOLDER}/{ENVELOPE_FILE}" not in host.tree

    def test_a_file_that_shrinks_here(self, gap, host, files):
        blob = next(file.name for file in files if file.name.startswith("blobs/"))
        (gap.bundle / blob).write_bytes(gap.files()[blob][:-1])
        with pytest.raises(SizeMismatchError, match="want 1 bytes more"):
            send(host, files)
        assert f"{FOLDER}/{blob}" not in host.tree
        assert f"{FOLDER}/{ENVELOPE_FILE}" not in host.tree

    def test_what_is_appended_here_is_not_sent(self, gap, host, files):
        blob = next(file.name for file in files if file.name.startswith("blobs/"))
        whole = gap.files()[blob]
        (gap.bundle / blob).write_bytes(whole + b"more")
        send(host, files)
        assert host.tree[f"{FOLDER}/{blob}"] == whole


class TestTheWay:
    @pytest.mark.parametrize(
        ("name", "what", "got"),
        [
            ("notes.txt", b"x", "not a file of this bundle"),
            ("x.part", b"x", "not a file of this bundle"),
            ("index.json", "link", "not a regular file"),
            ("index.json.part", "link", "not a regular file"),
            ("index.json", None, "not a regular file"),
            ("more", None, "not a regular file"),
            ("blobs", b"x", "not a folder"),
            ("blobs", "link", "not a folder"),
            ("blobs/sha256/0", b"x", "not a file of this bundle"),
        ],
    )
    def test_something_else(self, host, files, name, what, got):
        host.tree |= {FOLDER: None}
        for folder in ("blobs", "blobs/sha256"):
            if name.startswith(f"{folder}/"):
                host.tree[f"{FOLDER}/{folder}"] = None
        host.tree[f"{FOLDER}/{name}"] = what
        with pytest.raises(
            TransportError, match=f"the remote folder holds something else: plant: .*, got {got}"
        ):
            send(host, files)
        assert not [line for line in host.log if not line.startswith("make")]

    def test_too_little_space(self, host, files):
        host.free = sum(file.size for file in files) - 1
        with pytest.raises(
            TransportError, match=r"the remote disk is full: plant: /home/edge-0001, want [\d,]+ bytes"
        ):
            send(host, files)
        assert host.log == []
        host.free += 1
        send(host, files)

    def test_what_is_there_needs_no_space(self, host, files):
        host.breaks_after = files[0].size - 1
        with pytest.raises(TransportError):
            send(host, files)
        host.breaks_after = None
        host.free = sum(file.size for file in files) - sum(map(len, host.files(FOLDER).values()))
        send(host, files)

    def test_read_only(self, host, files):
        host.free, host.read_only = 10**9, True
        with pytest.raises(TransportError, match="the remote file system is read-only"):
            send(host, files)


class TestProof:
    @pytest.mark.parametrize(
        "program",
        [
            lambda _: None,
            lambda _: CommandResult(1, b"", b""),
            lambda _: CommandResult(-1, b"", b""),
            lambda _: CommandResult(0, b"", b""),
            lambda argv: CommandResult(0, b"0" * 64 + b"  x", b""),
            lambda argv: CommandResult(0, (b"g" * 64 + b"  x\n") * len(argv[2:]), b""),
            lambda argv: CommandResult(0, (b"0" * 63 + b"  x\n") * len(argv[2:]), b""),
            lambda argv: CommandResult(0, (b"0" * 64 + b"  x\n") * (len(argv[2:]) + 1), b""),
            lambda argv: CommandResult(0, b"Welcome!\n" + (b"0" * 64 + b"  x\n") * len(argv[2:]), b""),
        ],
    )
    def test_programs_that_say_something_else(self, gap, host, files, program):
        host.programs["sha256sum"] = program
        sent = send(host, files)
        assert sent.proved_by == "reading back"
        assert host.files(FOLDER) == gap.files()
        host.tree[f"{FOLDER}/index.json"] = b"?" * len(host.tree[f"{FOLDER}/index.json"])
        assert send(host, files).files == 2

    def test_openssl_is_asked_first(self, host, files):
        def openssl(argv: Sequence[str]) -> CommandResult:
            assert argv[:4] == ["openssl", "dgst", "-sha256", "-r"]
            found = host._sha256sum(["sha256sum", "--", *argv[4:]])
            return CommandResult(0, found.out.replace(b"  ", b" *"), b"")

        host.programs["openssl"] = openssl
        assert send(host, files).proved_by == "openssl"

    def test_names_that_coreutils_escapes(self, host, files):
        host.programs["sha256sum"] = lambda argv: CommandResult(
            0, host._sha256sum(argv).out.replace(b"\n", b"\n\\")[:-1], b""
        )
        assert send(host, files).proved_by == "sha256sum"

    def test_many_files_are_proved_in_batches(self, host, files):
        sizes = []

        def count(argv: Sequence[str]) -> CommandResult:
            sizes.append(len(argv) - 2)
            return host._sha256sum(argv)

        host.programs["sha256sum"] = count
        send(host, files)
        assert sum(sizes) == len(files)
        assert len(sizes) <= 2
