"""Several hosts: results, records, and how the whole ends."""

import contextlib
import json
import threading

import pytest

from airgap.carry import send as module
from airgap.carry.send import Destination, HostResult, SendReport, send_bundle
from airgap.carry.send_to_host import Sent
from airgap.endpoints.remote import CommandResult
from airgap.errors import (
    DestinationError,
    IncompleteError,
    KeyFileError,
    LinkError,
    PartialError,
    TransportError,
    UnavailableError,
    UsageError,
)
from airgap.oci.digest import Digest
from airgap.offline.load_bundle import load_bundle
from airgap.progress import Progress, Silent
from tests.support.bundles import Gap, make_gap
from tests.support.far import MemoryHost
from tests.support.memory import MemoryEngine


def send(gap: Gap, *wanted: Destination, jobs: int = 2) -> SendReport:
    return send_bundle(
        gap.bundle, gap.site, wanted, gap.now, jobs=jobs, progress=lambda _: Silent(), first_pause=0.001
    )


def to(host: MemoryHost, **more) -> Destination:
    return Destination(name=host.name, open=lambda: host, **more)


def failing(name: str, error: Exception) -> Destination:
    def refuse():
        raise error

    return Destination(name=name, open=refuse)


def ends(gap: Gap) -> list[dict]:
    lines = [json.loads(line) for line in gap.site.ledger_path.read_bytes().splitlines()]
    by_seq = {line["seq"]: line for line in lines}
    return [
        by_seq[line["begin"]] | line for line in lines if line["phase"] == "end" and line["event"] == "send"
    ]


def test_each_host_is_one_attempt(gap):
    hosts = [MemoryHost(name) for name in ("a", "b", "c")]
    report = send(gap, *(to(host) for host in hosts))
    assert report.failure is None
    assert [result.state for result in report.results] == ["sent"] * 3
    assert all(host.closed for host in hosts)
    assert sorted((end["target"], end["result"], end["folder"]) for end in ends(gap)) == [
        (name, "ok", "/home/airgap-bundles/edge-0001") for name in "abc"
    ]
    assert {end["bundle"]["stream"] for end in ends(gap)} == {"edge"}
    assert [result.state for result in send(gap, to(hosts[0])).results] == ["already there"]


@pytest.mark.parametrize(
    ("folder", "place"),
    [
        ("deep/er", "/home/deep/er"),
        ("/srv/x/", "/srv/x"),
        ("~/kept", "/home/kept"),
        ("~", "/home"),
        ("~/", "/home"),
        (".", "/home"),
        ("", "/home"),
    ],
)
def test_folders(gap, folder, place):
    host = MemoryHost(tree={"/home": None, "/srv": None})
    send(gap, to(host, folder=folder))
    assert f"{place}/edge-0001/bundle.dsse.json" in host.tree


def test_the_folder_of_somebody_else_is_not_guessed(gap):
    host = MemoryHost()
    [result] = send(gap, to(host, folder="~carrier/x")).results
    assert "~USER is not supported in a remote folder: ~carrier/x" in str(result.error)
    assert host.tree == {"/home": None}


def test_a_failure_leaves_the_others_alone(gap):
    host = MemoryHost("b")
    report = send(gap, failing("a", TransportError("cannot connect", subject="a")), to(host))
    assert isinstance(report.failure, PartialError)
    assert list(report.failure.failures) == ["a"]
    assert str(report.failure) == "some hosts failed, got 1 of 2"
    assert [result.state for result in report.results] == ["failed", "sent"]
    assert sorted((end["target"], end["result"], end["exit_code"]) for end in ends(gap)) == [
        ("a", "failed", 20),
        ("b", "ok", 0),
    ]


@pytest.mark.parametrize(
    ("errors", "kind"),
    [
        ([TransportError("x")], TransportError),
        ([KeyFileError("x")], KeyFileError),
        ([TransportError("x"), TransportError("y")], TransportError),
        ([TransportError("x"), UnavailableError("y")], PartialError),
        ([TransportError("x"), None], PartialError),
        ([PartialError("x")], PartialError),
        ([PartialError("x"), PartialError("y")], PartialError),
        ([None, None], None),
    ],
)
def test_the_failure_of_all(errors, kind):
    results = tuple(HostResult(str(i), Sent(folder="/x"), None, error) for i, error in enumerate(errors))
    failure = SendReport(None, results).failure
    assert failure is None if kind is None else type(failure) is kind


def test_the_failure_of_all_hosts_counts_them():
    results = tuple(HostResult(name, error=TransportError("x", subject=name, hint="y")) for name in "abc")
    failure = SendReport(None, results).failure
    assert (str(failure), failure.hint) == ("all 3 hosts failed, the first with: x: a", "y")
    assert str(SendReport(None, results[:1]).failure) == "x: a"
    parts = tuple(HostResult(name, error=PartialError("some images failed")) for name in "ab")
    assert str(SendReport(None, parts).failure) == "some hosts failed, got 2 of 2"


def test_a_bad_bundle_is_not_sent(gap):
    (gap.bundle / "bundle.dsse.json").unlink()
    host = MemoryHost()
    with pytest.raises(IncompleteError):
        send(gap, to(host))
    assert host.tree == {"/home": None}
    assert [(end["hosts"], end["result"]) for end in ends(gap)] == [(["plant"], "failed")]


def test_a_bundle_for_another_site_is_sent(tmp_path):
    gap = make_gap(tmp_path, options="destinations: [plant-9]\n")
    assert send(gap, to(MemoryHost())).failure is None


class TestLoading:
    def from_here(self, gap: Gap, engine: MemoryEngine):
        def load(host: MemoryHost, progress: Progress):
            assert not host.closed
            return load_bundle(gap.bundle, gap.site, engine, gap.now, jobs=1, progress=progress).as_remote()

        return load

    def test_no_airgap_and_no_engine(self, gap):
        host = MemoryHost()
        report = send(gap, to(host, load="registry:localhost:5000"))
        assert str(report.failure).startswith("airgap is not installed on the host: plant")
        assert host.tree == {"/home": None}, "it is known before anything is sent"

    def test_from_here(self, gap):
        host, engine = MemoryHost(), MemoryEngine("docker:ssh://plant")
        [result] = send(gap, to(host, load="docker", from_here=self.from_here(gap, engine))).results
        assert (result.state, result.loaded.way) == ("loaded", "from here into its Docker engine")
        assert len(engine.names) == 3
        assert host.closed
        assert host.tree == {"/home": None}
        [end] = ends(gap)
        assert end["way"] == "from here into its Docker engine"
        assert {effect["verdict"] for effect in end["effect"]} == {"loaded"}

    def test_some_images_fail(self, gap):
        engine = MemoryEngine("docker:ssh://plant", faults=["complain"])
        report = send(gap, to(MemoryHost(), load="docker", from_here=self.from_here(gap, engine)))
        assert isinstance(report.failure, PartialError)
        assert report.results[0].state == "failed"
        assert ends(gap)[0]["result"] == "partial"

    def test_not_for_this_site(self, tmp_path):
        gap = make_gap(tmp_path, options="destinations: [plant-9]\n")
        engine = MemoryEngine()
        report = send(gap, to(MemoryHost(), load="docker", from_here=self.from_here(gap, engine)))
        assert isinstance(report.failure, DestinationError)
        assert engine.names == {}

    def test_by_the_airgap_there(self, gap):
        host = MemoryHost()
        statement = Digest.of((gap.bundle / "statement.json").read_bytes()).hex
        images = [{"reference": str(image.name), "verdict": "loaded"} for image in gap.statement.images]
        answer = {"statement_sha256": statement, "receipt": "/r", "images": images, "error": None}

        def airgap(argv):
            if argv[1] != "load":
                return CommandResult(0, b"airgap 0.1.0\n", b"")
            assert f"{argv[2]}/bundle.dsse.json" in host.tree, "loaded when all is there"
            return CommandResult(0, json.dumps(answer).encode(), b"")

        host.programs["airgap"] = airgap
        [result] = send(
            gap, to(host, load="docker", from_here=lambda *_: pytest.fail("not this way"))
        ).results
        assert (result.state, result.sent.files > 0) == ("loaded", True)

    @pytest.mark.parametrize(
        ("answer", "kind", "message"),
        [
            (
                CommandResult(
                    2,
                    b'{"error": {"kind": "UsageError", "message": "no site here yet: /x", "hint": "y"}}',
                    b"",
                ),
                UsageError,
                "on plant: no site here yet: /x",
            ),
            (
                CommandResult(1, b"", b"what?"),
                TransportError,
                "cannot understand the answer: plant: airgap trust show",
            ),
            (CommandResult(1, b"{}", b"what?"), TransportError, "exit code 1: what?"),
            (None, TransportError, "cannot run airgap on the host: plant"),
        ],
    )
    def test_a_remote_airgap_that_cannot_load(self, gap, answer, kind, message):
        host = MemoryHost()
        host.programs["airgap"] = lambda argv: (
            CommandResult(0, b"airgap 0.1.0\n", b"") if argv[1] == "--version" else answer
        )
        [result] = send(gap, to(host, load="docker")).results
        assert (type(result.error), result.sent) == (kind, None)
        assert message in str(result.error)
        assert host.tree == {"/home": None}, "it is known before anything is sent"


class TestBrokenLinks:
    def opening(self, host: MemoryHost, *links: int | Exception) -> Destination:
        """Each link carries so many bytes until it breaks, or cannot be made at all."""
        waiting = list(links)

        def connect():
            link = waiting.pop(0)
            if isinstance(link, Exception):
                raise link
            host.breaks_after = link
            return host

        return Destination(name=host.name, open=connect)

    def test_a_broken_link_is_opened_again(self, gap):
        host = MemoryHost()
        down = LinkError("cannot connect", got="refused")
        [result] = send(gap, self.opening(host, 3000, 2000, down, 1 << 30)).results
        there = host.files("/home/airgap-bundles/edge-0001")
        assert (result.error, result.state, host.breaks) == (None, "sent", 2)
        assert there == gap.files()
        assert (result.sent.files, result.sent.there) == (len(there), 0)
        assert len(ends(gap)) == 1

    def test_not_for_ever(self, gap):
        host = MemoryHost()
        [result] = send(gap, self.opening(host, *[1000] * 6)).results
        assert isinstance(result.error, LinkError)
        assert host.breaks == 6

    def test_a_host_that_cannot_be_reached_is_not_waited_for(self, gap):
        down = LinkError("cannot connect", got="refused")
        [result] = send(gap, self.opening(MemoryHost(), down)).results
        assert result.error is down

    def test_another_error_on_the_next_link(self, gap):
        changed = TransportError("the host key has changed")
        [result] = send(gap, self.opening(MemoryHost(), 3000, changed)).results
        assert result.error is changed

    def test_not_while_it_is_loaded_there(self, gap):
        host, loads = MemoryHost(), []

        def airgap(argv):
            if argv[1] != "load":
                return CommandResult(0, b"airgap 0.1.0\n", b"")
            loads.append(argv)
            raise LinkError("cannot run", got="the link broke off")

        host.programs["airgap"] = airgap
        [result] = send(gap, to(host, load="docker")).results
        assert isinstance(result.error, LinkError)
        assert len(loads) == 1


def test_ctrl_c_closes_and_records(gap, monkeypatch):
    host = MemoryHost()
    reached, broken = threading.Event(), threading.Event()

    def hang(_):
        reached.set()
        assert broken.wait(120)
        raise TransportError("the link broke off")

    def close():
        broken.set()

    host.programs["sha256sum"] = hang
    host.close = close
    real = module.run_all

    def interrupted(do, items, jobs):
        def work():
            with contextlib.suppress(KeyboardInterrupt):
                real(do, items, jobs)

        threading.Thread(target=work, daemon=True).start()
        assert reached.wait(120)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "run_all", interrupted)
    with pytest.raises(KeyboardInterrupt):
        send(gap, to(host))
    assert [(end["result"], end["exit_code"]) for end in ends(gap)] == [("aborted", 130)]


def test_ctrl_c_cuts_a_load_from_here(gap, monkeypatch):
    """It goes over the link to the host, and the attempt is recorded as broken off."""
    reached, cut = threading.Event(), threading.Event()

    def from_here(*_):
        reached.set()
        assert cut.wait(120)
        raise UnavailableError("the engine hung up")

    host = MemoryHost()
    host.close = cut.set
    real = module.run_all

    def interrupted(do, items, jobs):
        def work():
            with contextlib.suppress(KeyboardInterrupt):
                real(do, items, jobs)

        threading.Thread(target=work, daemon=True).start()
        assert reached.wait(120)
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "run_all", interrupted)
    with pytest.raises(KeyboardInterrupt):
        send(gap, to(host, load="docker", from_here=from_here))
    assert [(end["result"], end["exit_code"]) for end in ends(gap)] == [("aborted", 130)]


def test_links_end_host_by_host(gap):
    """A load from here too goes over the host's own link: none stays open while others are sent to."""
    first, second = MemoryHost("first"), MemoryHost("second")
    engine = MemoryEngine()

    def from_here(host: MemoryHost, progress: Progress):
        assert [first.closed, second.closed] == ([False, False] if host is first else [True, False])
        return load_bundle(gap.bundle, gap.site, engine, gap.now, jobs=1, progress=progress).as_remote()

    hosts = [to(host, load="docker", from_here=from_here) for host in (first, second)]
    assert send(gap, *hosts, jobs=1).failure is None
    assert (first.closed, second.closed) == (True, True)
