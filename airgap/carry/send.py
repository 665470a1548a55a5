"""Send a bundle to hosts. It is checked once here and proved on each host, and the ledger records one attempt
for each host.
"""

import threading
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import field
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from airgap.audit.receipt import Verdict
from airgap.bundle.volumes import BundleLocation, open_bundle
from airgap.carry.choose_sender import site_for
from airgap.carry.remote_load import (
    LoadedThere,
    LoadFromHere,
    PipingHost,
    cannot_load_error,
    check_remote_can_load,
    has_airgap,
    load_there,
    read_receipt,
)
from airgap.carry.send_to_host import HostSender, Outgoing, Sent, outgoing
from airgap.carry.verify import CheckedBundle, check
from airgap.carry.verify_recorded import bundle_attempt, bundle_details, keeper, refuse_others
from airgap.endpoints.remote import Host
from airgap.errors import AirgapError, EndpointError, LinkError, PartialError, TransportError, UsageError
from airgap.progress import Progress
from airgap.site import Site
from airgap.values import dataclass
from airgap.workers import run_all

DEFAULT_FOLDER = "airgap-bundles"
"""Relative to the home folder of the login."""

RECONNECTS = 5
"""The number of times that a broken connection to one host is opened again."""

_FIRST_PAUSE, _LONGEST_PAUSE = 1.0, 30.0
"""Seconds before the first reconnect; each further pause is twice as long."""

_CANCEL_SECONDS = 3.0
"""How long Ctrl-C waits for the aborted attempts to be recorded."""


@dataclass(frozen=True, slots=True)
class ReturnedReceipt:
    """A receipt that came back from a host, and was proved, or why there is none."""

    path: Path | None
    """Where it is kept here."""
    alarms: tuple[str, ...] = ()
    error: AirgapError | None = None


TakeReceipt = Callable[[CheckedBundle, str, bytes], ReturnedReceipt]
"""Proves and keeps a receipt of a bundle, given the path on the host and the bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """One host, and what to do there."""

    name: str
    """The name that the operator gave; unique in one command."""
    open: Callable[[], PipingHost]
    folder: str = DEFAULT_FOLDER
    """The folder for bundles on the host; the bundle becomes a folder in it."""
    load: str | None = None
    """The target, as the remote airgap spells it in `--to`."""
    from_here: LoadFromHere | None = None
    """Loads into the Docker engine of a host without airgap; then no bundle folder is sent."""
    take_receipt: TakeReceipt | None = None
    """Keeps the receipt of a load by the host's own airgap."""


class HostState(StrEnum):
    """The result for one host in a word or two, for people."""

    FAILED = "failed"
    LOADED = "loaded"
    PLACED = "placed"
    SENT = "sent"
    THERE = "already there"


@dataclass(slots=True)
class HostResult:
    """The result for one host."""

    name: str
    sent: Sent | None = None
    loaded: LoadedThere | None = None
    error: AirgapError | None = None
    receipt: ReturnedReceipt | None = None
    """The receipt that was brought back."""

    @property
    def state(self) -> HostState:
        """The result in a word or two."""
        if self.error is not None:
            return HostState.FAILED
        if self.loaded is not None:
            placed = any(verdict == Verdict.PLACED for _, verdict in self.loaded.images)
            return HostState.PLACED if placed else HostState.LOADED
        return HostState.SENT if self.sent and self.sent.files else HostState.THERE


@dataclass(frozen=True, slots=True)
class SendReport:
    """The results of one `send`, in the order of the hosts."""

    bundle: CheckedBundle
    results: tuple[HostResult, ...]

    @property
    def failure(self) -> AirgapError | None:
        """None if no host failed; an error of the first host's class if all failed with the same exit code;
        else a `PartialError`.
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
        hint = "run the same command again to resume"
        return PartialError("some hosts failed", errors, len(self.results), hint=hint)


def send_bundle(
    location: BundleLocation,
    site: Site,
    hosts: Sequence[Destination],
    now: datetime,
    *,
    jobs: int,
    progress: Callable[[str], Progress],
    reconnects: int = RECONNECTS,
    first_pause: float = _FIRST_PAUSE,
) -> SendReport:
    """Check the bundle, which may be for another site, and send it to all hosts, `jobs` at a time.

    A connection that breaks while files are sent is opened again up to `reconnects` times, `first_pause`
    seconds after the first break. Raises the errors of the bundle; an error of a host is in its result.
    `progress` returns the listener for a host.
    """
    refuse_others(location)
    site = site_for(location, site)
    with open_bundle(location) as folder:
        try:
            bundle = check(folder, keeper(site, now))
            files = outgoing(bundle)
        except AirgapError:
            with bundle_attempt(location, site, "send", hosts=[host.name for host in hosts]):
                raise
        pauses = [min(first_pause * 2**count, _LONGEST_PAUSE) for count in range(reconnects)]
        work = _Sending(
            place=location, site=site, bundle=bundle, files=files, progress=progress, pauses=pauses
        )
        results = [HostResult(host.name) for host in hosts]
        try:
            run_all(lambda pair: work.send_to(*pair), list(zip(hosts, results, strict=True)), jobs)
        except BaseException:  # only the main thread receives Ctrl-C
            work.cancel()
            raise
        return SendReport(bundle, tuple(results))


@dataclass(slots=True, kw_only=True)
class _Sending:
    """The state that the sends to all hosts share."""

    place: BundleLocation
    site: Site
    bundle: CheckedBundle
    files: Sequence[Outgoing]
    progress: Callable[[str], Progress]
    pauses: Sequence[float]
    cancelled: threading.Event = field(default_factory=threading.Event)
    _open: list[Host] = field(default_factory=list)
    _running: set[str] = field(default_factory=set)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def send_to(self, destination: Destination, result: HostResult) -> None:
        """Send the bundle to one host, in a recorded attempt."""
        if self.cancelled.is_set():
            return
        self._running.add(destination.name)
        try:
            self._attempt(destination, result)
        except AirgapError as error:
            result.error = error
            self.progress(destination.name).note(f"failed: {error}")
        finally:
            self._running.discard(destination.name)

    def _attempt(self, destination: Destination, result: HostResult) -> None:
        with bundle_attempt(
            self.place, self.site, "send", target=destination.name, load=destination.load
        ) as attempt:
            attempt.add(**bundle_details(self.bundle))
            try:
                self._send_with_reconnects(destination, result)
            except (TransportError, EndpointError):
                if self.cancelled.is_set():
                    raise KeyboardInterrupt from None
                raise
            finally:
                attempt.add(**_effect(result))
            if result.loaded is not None and result.loaded.failure is not None:
                raise result.loaded.failure

    def _send_with_reconnects(self, destination: Destination, result: HostResult) -> None:
        """Send, and connect again if the connection breaks while files are being sent."""
        progress = self.progress(destination.name)
        progress.note("connecting")
        for pause in (*self.pauses, None):
            try:
                self._send_once(destination, result, progress)
                break
            except LinkError as error:
                if pause is None or result.sent is None or result.sent.complete:
                    raise
                progress.note(f"{error}: connecting again in {pause:.0f} s")
                if self.cancelled.wait(pause):
                    raise
        progress.note(result.state)

    def _send_once(self, destination: Destination, result: HostResult, progress: Progress) -> None:
        with closing(destination.open()) as host:
            with self._lock:
                self._open.append(host)
            if destination.load is not None and not has_airgap(host):
                if destination.from_here is None:
                    raise cannot_load_error(host)
                result.loaded = destination.from_here(host, progress)
            else:
                if destination.load is not None:
                    check_remote_can_load(host)
                self._send(host, destination, result, progress)

    def _send(self, host: Host, destination: Destination, result: HostResult, progress: Progress) -> None:
        folder = f"{_make_folders(host, destination.folder)}/{self.bundle.statement.title}"
        result.sent = result.sent or Sent(folder=folder)
        HostSender(host=host, sent=result.sent, files=self.files, progress=progress).run()
        if destination.load is not None:
            with progress.phase(f"loading into {destination.load} on the host", 0):
                names = {str(image.name) for image in self.bundle.images}
                sha256 = self.bundle.statement_sha256
                result.loaded = load_there(host, folder, destination.load, sha256, names)
            _bring_back(host, self.bundle, destination, result)

    def cancel(self) -> None:
        """Close all connections, and wait up to `_CANCEL_SECONDS` for the records of the aborted attempts."""
        self.cancelled.set()
        with self._lock:
            hosts = list(self._open)
        for host in hosts:
            host.close()
        end = time.monotonic() + _CANCEL_SECONDS
        while self._running and time.monotonic() < end:
            time.sleep(0.02)


def _bring_back(host: Host, bundle: CheckedBundle, destination: Destination, result: HostResult) -> None:
    """Keep the receipt of the load here too. The images are loaded, so a failure is only reported."""
    if destination.take_receipt is None or result.loaded is None:
        return
    path = result.loaded.receipt
    try:
        raw = read_receipt(host, path)
        result.receipt = destination.take_receipt(bundle, f"{host.name}:{path}", raw)
    except AirgapError as error:
        result.receipt = ReturnedReceipt(None, error=error)


def _make_folders(host: Host, folder: str) -> str:
    """Make the folder for bundles and its parents; return its absolute path."""
    folder = (folder.removeprefix("~/") if folder != "~" else "").rstrip("/") or "."
    if folder.startswith("~"):
        raise UsageError("~USER is not supported in a remote folder", subject=folder, want="a path, or ~/...")
    steps = folder.split("/")
    for count in range(1, len(steps) + 1):
        step = "/".join(steps[:count])
        if step and host.find(step) is None:
            host.make_folder(step)
    return host.real_path(folder).rstrip("/")


def _effect(result: HostResult) -> dict[str, object]:
    sent, loaded = result.sent, result.loaded
    details: dict[str, object] = {}
    if sent is not None:
        details |= {"folder": sent.folder, "sent_files": sent.files, "sent_bytes": sent.bytes}
        details |= {"files_there": sent.there, "proved_by": sent.proved_by}
    if loaded is not None:
        details |= {"way": str(loaded.way), "receipt": loaded.receipt}
        details["effect"] = [{"reference": name, "verdict": verdict} for name, verdict in loaded.images]
    if result.receipt is not None and result.receipt.path is not None:
        details["receipt_kept"] = str(result.receipt.path)
    return details
