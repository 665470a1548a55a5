"""Sending a bundle to hosts: checked once here, proved on each, one attempt in the ledger for each."""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime

from airgap.audit.receipt import Verdict
from airgap.bundle.volumes import Place, open_bundle
from airgap.carry.remote_load import (
    LoadedThere,
    LoadFromHere,
    PipingHost,
    cannot_load_error,
    check_remote_can_load,
    has_airgap,
    load_there,
)
from airgap.carry.send_to_host import Outgoing, Sender, Sent, outgoing
from airgap.carry.verify import CheckedBundle, check
from airgap.carry.verify_recorded import bundle_details, keeper, recorded, refuse_others
from airgap.endpoints.remote import Host
from airgap.errors import AirgapError, EndpointError, LinkError, PartialError, TransportError, UsageError
from airgap.progress import Progress
from airgap.site import Site
from airgap.workers import run_all

DEFAULT_FOLDER = "airgap-bundles"
"""Below the folder of the login."""

RECONNECTS = 5
"""How often a link that broke off is made anew, for each host."""

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
"""Seconds before the first of them; each next pause is twice as long."""

_CANCEL_SECONDS = 3.0
"""How long Ctrl-C waits for the records of what it broke off."""


@dataclass(frozen=True, slots=True)
class Destination:
    """One host, and what is wanted there."""

    name: str
    """As the operator calls it; no two are the same."""
    open: Callable[[], PipingHost]
    folder: str = DEFAULT_FOLDER
    """Where bundles are kept there; the bundle is a folder in it."""
    load: str | None = None
    """The target, in the words of the far airgap."""
    from_here: LoadFromHere | None = None
    """For a host without airgap, where `load` is its Docker engine: then nothing else is sent."""


@dataclass(slots=True)
class HostResult:
    """What became of one host."""

    name: str
    sent: Sent | None = None
    loaded: LoadedThere | None = None
    error: AirgapError | None = None

    @property
    def state(self) -> str:
        """In a word or two."""
        if self.error is not None:
            return "failed"
        if self.loaded is not None:
            placed = any(verdict == Verdict.PLACED for _, verdict in self.loaded.images)
            return str(Verdict.PLACED if placed else Verdict.LOADED)
        return "sent" if self.sent and self.sent.files else "already there"


@dataclass(frozen=True, slots=True)
class SendReport:
    """What a sending did, in the order of the hosts."""

    bundle: CheckedBundle
    results: tuple[HostResult, ...]

    @property
    def failure(self) -> AirgapError | None:
        """An error of the first host's kind when all failed with one code, a `PartialError` for other
        failures.
        """
        errors = {result.name: result.error for result in self.results if result.error is not None}
        if not errors:
            return None
        first = next(iter(errors.values()))
        if len(self.results) == 1:
            return first
        alike = len({error.exit_code for error in errors.values()}) == 1 and type(first) is not PartialError
        if len(errors) == len(self.results) and alike:
            return type(first)(f"all {len(errors)} hosts failed, the first with: {first}", hint=first.hint)
        hint = "running the same command again goes on with them"
        return PartialError("some hosts failed", errors, len(self.results), hint=hint)


def send_bundle(
    place: Place,
    site: Site,
    hosts: Sequence[Destination],
    now: datetime,
    *,
    jobs: int,
    progress: Callable[[str], Progress],
    reconnects: int = RECONNECTS,
    first_pause: float = _FIRST_PAUSE,
) -> SendReport:
    """Check the bundle, which may be for another site, and bring it to all hosts, `jobs` at a time.

    A link that breaks off while files are sent is made anew up to `reconnects` times, `first_pause`
    seconds after the first break. Raises what is wrong with the bundle; what goes wrong with a host is in
    its result. `progress` gives the listener for a host.
    """
    refuse_others(place)
    with open_bundle(place) as folder:
        try:
            bundle = check(folder, keeper(site, now))
            files = outgoing(bundle)
        except AirgapError:
            with recorded(place, site, "send", hosts=[host.name for host in hosts]):
                raise
        pauses = [min(first_pause * 2**count, _LONGEST_PAUSE) for count in range(reconnects)]
        work = _Sending(place, site, bundle, files, progress, pauses)
        results = [HostResult(host.name) for host in hosts]
        try:
            run_all(lambda pair: work.one(*pair), list(zip(hosts, results, strict=True)), jobs)
        except BaseException:  # Ctrl-C comes here, and not to the threads
            work.cancel()
            raise
        return SendReport(bundle, tuple(results))


@dataclass(slots=True)
class _Sending:
    """The work on all hosts."""

    place: Place
    site: Site
    bundle: CheckedBundle
    files: Sequence[Outgoing]
    progress: Callable[[str], Progress]
    pauses: Sequence[float]
    cancelled: threading.Event = field(default_factory=threading.Event)
    _open: list[Host] = field(default_factory=list)
    _running: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def one(self, wanted: Destination, result: HostResult) -> None:
        """Bring the bundle to one host, in a recorded attempt."""
        if self.cancelled.is_set():
            return
        self._running.add(wanted.name)
        try:
            self._attempt(wanted, result)
        except AirgapError as error:
            result.error = error
            self.progress(wanted.name).note(f"failed: {error}")
        finally:
            self._running.discard(wanted.name)

    def _attempt(self, wanted: Destination, result: HostResult) -> None:
        with recorded(self.place, self.site, "send", target=wanted.name, load=wanted.load) as attempt:
            attempt.add(**bundle_details(self.bundle))
            try:
                self._bring(wanted, result)
            except (TransportError, EndpointError):
                if self.cancelled.is_set():
                    raise KeyboardInterrupt from None
                raise
            finally:
                attempt.add(**_effect(result))
            if result.loaded is not None and result.loaded.failure is not None:
                raise result.loaded.failure

    def _bring(self, wanted: Destination, result: HostResult) -> None:
        """Over as many links as it takes, when they break off while files are sent."""
        progress = self.progress(wanted.name)
        progress.note("connecting")
        for pause in (*self.pauses, None):
            try:
                self._over_a_link(wanted, result, progress)
                break
            except LinkError as error:
                if pause is None or result.sent is None or result.sent.complete:
                    raise
                progress.note(f"{error}: connecting again in {pause:.0f} s")
                if self.cancelled.wait(pause):
                    raise
        progress.note(result.state)

    def _over_a_link(self, wanted: Destination, result: HostResult, progress: Progress) -> None:
        with closing(wanted.open()) as host:
            with self._lock:
                self._open.append(host)
            if wanted.load is not None and not has_airgap(host):
                if wanted.from_here is None:
                    raise cannot_load_error(host)
                result.loaded = wanted.from_here(host, progress)
            else:
                if wanted.load is not None:
                    check_remote_can_load(host)
                self._send(host, wanted, result, progress)

    def _send(self, host: Host, wanted: Destination, result: HostResult, progress: Progress) -> None:
        folder = f"{_folders(host, wanted.folder)}/{self.bundle.statement.title}"
        result.sent = result.sent or Sent(folder)
        Sender(host, result.sent, self.files, progress).run()
        if wanted.load is not None:
            with progress.phase(f"loading into {wanted.load} there", 0):
                names = {str(image.name) for image in self.bundle.images}
                sha256 = self.bundle.statement_sha256
                result.loaded = load_there(host, folder, wanted.load, sha256, names)

    def cancel(self) -> None:
        """Cut all connections, and give the attempts a moment to be recorded as aborted."""
        self.cancelled.set()
        with self._lock:
            hosts = list(self._open)
        for host in hosts:
            host.close()
        end = time.monotonic() + _CANCEL_SECONDS
        while self._running and time.monotonic() < end:
            time.sleep(0.02)


def _folders(host: Host, folder: str) -> str:
    """Make the folder for bundles and those above it; its absolute path."""
    folder = (folder.removeprefix("~/") if folder != "~" else "").rstrip("/") or "."
    if folder.startswith("~"):
        raise UsageError(
            "no shell is there to know whose folder that is", subject=folder, want="a path, or ~/..."
        )
    steps = folder.split("/")
    for count in range(1, len(steps) + 1):
        step = "/".join(steps[:count])
        if step and host.find(step) is None:
            host.make_folder(step)
    return host.real_path(folder).rstrip("/")


def _effect(result: HostResult) -> dict[str, object]:
    sent, loaded = result.sent, result.loaded
    found: dict[str, object] = {}
    if sent is not None:
        found |= {"folder": sent.folder, "sent_files": sent.files, "sent_bytes": sent.bytes}
        found |= {"files_there": sent.there, "proved_by": sent.proved_by}
    if loaded is not None:
        found |= {"way": loaded.way, "receipt": loaded.receipt}
        found["effect"] = [{"reference": name, "verdict": verdict} for name, verdict in loaded.images]
    return found
