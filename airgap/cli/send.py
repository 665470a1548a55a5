"""Send a bundle to hosts over SSH. It is checked on each host.

Only files that a host lacks or has wrong are sent. If the connection breaks, airgap connects again and
resumes, also in the middle of a file; so does running the command again. On the host, the bundle is either
complete or marked as unfinished. Host keys must be known, and logins use keys. With --load, the airgap on the
host loads the bundle too; its receipt comes back and is imported, as `airgap receipt import` does. For a host
without airgap, --load docker loads its engine from here through SSH, and sends only the layers that the
engine lacks.

Examples:
  airgap send stick/edge-stack-0007 carrier@plant-a plant-b:2222
  airgap send stick/edge-stack-0007 --inventory hosts.yaml --load docker
"""

import contextlib
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli import console, progress_output
from airgap.cli.options import Bundle, SshAccess, TableOutput
from airgap.cli.tables import Table
from airgap.errors import IncompleteError, UsageError

if TYPE_CHECKING:
    from airgap.bundle.volumes import BundleLocation
    from airgap.carry.remote_load import LoadedThere, LoadFromHere, PipingHost
    from airgap.carry.send import Destination, HostResult, ReturnedReceipt, SendReport, TakeReceipt
    from airgap.endpoints.docker.dial import Dial
    from airgap.endpoints.ssh import Ssh
    from airgap.manifest.inventory import InventoryHost
    from airgap.progress import Progress
    from airgap.site import Site

NAME = "send"
_VOLUMES = "name the first volume as BUNDLE, and each further one with --volume DIR"


Hosts = Annotated[
    list[str] | None, typer.Argument(metavar="HOST", help="[USER@]HOST[:PORT], or a name in ssh_config.")
]
InventoryFile = Annotated[
    Path | None, typer.Option("--inventory", metavar="FILE", help="A YAML file that lists hosts.")
]
Folder = Annotated[
    str | None,
    typer.Option(
        "--to", metavar="DIR", help="The folder on the host, relative to the home (default: airgap-bundles)."
    ),
]
Load = Annotated[
    str | None,
    typer.Option("--load", metavar="TARGET", help="Load the bundle on the host, as airgap load --to does."),
]
HostJobs = Annotated[
    int,
    typer.Option("--jobs", "-j", metavar="N", min=1, max=64, help="Number of hosts to send to at a time."),
]
Reconnects = Annotated[
    int,
    typer.Option(
        "--reconnect",
        metavar="N",
        min=0,
        max=1000,
        help="Number of times to reconnect after the connection breaks.",
    ),
]
Volume = Annotated[
    list[Path] | None, typer.Option(metavar="DIR", help="A further volume of BUNDLE; may be repeated.")
]


def run(
    bundle: Bundle,
    hosts: Hosts = None,
    volume: Volume = None,
    inventory: InventoryFile = None,
    to: Folder = None,
    load: Load = None,
    jobs: HostJobs = 8,
    reconnect: Reconnects = 5,
    *,
    ssh: SshAccess,
    output: TableOutput,
) -> None:
    from airgap.carry.choose_sender import site_for
    from airgap.carry.send import send_bundle
    from airgap.cli.bundle_choice import take_bundles
    from airgap.cli.opening import open_site
    from airgap.review.returned import take_returned

    wanted = _wanted(hosts or [], inventory, to, load)
    client = ssh.make_ssh()
    checked = open_site()
    taken = take_bundles([bundle], NAME, any_site=True)
    folders: BundleLocation = (*taken, *(volume or ())) if volume or taken[1:] else taken[0]
    site, moment = site_for(folders, checked.site), checked.now
    take = partial(take_returned, site=site, location=folders, now=moment)
    destinations = [
        _destination(host, client, _from_here(folders, site, host.address, moment), take) for host in wanted
    ]
    names = [host.address for host in wanted]
    with _volumes_by_option(), progress_output.host_board(names, quiet=output.quiet) as board:
        report = send_bundle(
            folders, site, destinations, moment, jobs=jobs, progress=board, reconnects=reconnect
        )
    failure = report.failure
    failures = [failure] if failure else []
    alarmed = any(result.receipt and result.receipt.alarms for result in report.results)
    console.show_partial_result(_value(report, taken[0]), _lines(report), output, failures, alarmed=alarmed)


def _from_here(folders: "BundleLocation", site: "Site", address: str, moment: "datetime") -> "LoadFromHere":
    """Return a function that loads a host's engine over the connection to that host."""

    def load(host: "PipingHost", progress: "Progress") -> "LoadedThere":
        from airgap.endpoints.docker.engine import DockerEngine
        from airgap.offline.load_bundle import load_bundle

        def dial(_: str, program: str) -> "Dial":
            return lambda: host.pipe([program, "system", "dial-stdio"])

        target = DockerEngine(f"docker:ssh://{address}", ssh=dial)
        report = load_bundle(folders, site, target, moment, jobs=2, progress=progress)
        return report.as_remote()

    return load


def _wanted(
    hosts: list[str], inventory: Path | None, to: str | None, load: str | None
) -> "list[InventoryHost]":
    """Return the hosts of the command line, then those of the inventory; options override the inventory."""
    from airgap.advice import INVENTORY, refuse_other
    from airgap.cli.endpoints import Endpoints
    from airgap.manifest.inventory import Inventory, InventoryHost

    named = [InventoryHost(_address(text), to, load) for text in hosts]
    if inventory:
        refuse_other(inventory, INVENTORY)
    listed = Inventory.load(inventory).hosts if inventory else ()
    wanted = [*named, *(InventoryHost(host.address, to or host.to, load or host.load) for host in listed)]
    addresses = [host.address for host in wanted]
    if not wanted:
        raise UsageError("no host", want="HOST, or --inventory FILE")
    if twins := sorted({address for address in addresses if addresses.count(address) > 1}):
        raise UsageError("host is named twice", subject=twins[0])
    for target in sorted({host.load for host in wanted if host.load is not None}):
        Endpoints().target(target)  # opens nothing: refuse a bad target before anything is sent
    return wanted


def _address(text: str) -> str:
    """Return the address in its usual form. A folder instead of a host is probably a further volume."""
    from airgap.endpoints.ssh import Address

    try:
        return str(Address.parse(text))
    except UsageError as error:
        if Path(text).exists():
            error.hint = _VOLUMES
        raise


@contextlib.contextmanager
def _volumes_by_option() -> Iterator[None]:
    """Replace the hint that names volumes as arguments: the further arguments of `send` are hosts."""
    from airgap.bundle.volumes import TOGETHER

    try:
        yield
    except IncompleteError as error:
        if error.hint == TOGETHER:
            error.hint = _VOLUMES
        raise


def _destination(
    host: "InventoryHost", ssh: "Ssh", from_here: "LoadFromHere", take: "TakeReceipt"
) -> "Destination":
    from airgap.carry.send import DEFAULT_FOLDER, Destination
    from airgap.endpoints.ssh import Address

    return Destination(
        name=host.address,
        open=lambda: ssh.open(Address.parse(host.address)),
        folder=host.to or DEFAULT_FOLDER,
        load=host.load,
        from_here=from_here if host.load == "docker" else None,
        take_receipt=take,
    )


def _value(report: "SendReport", bundle: Path) -> dict[str, Any]:
    return {
        "bundle": str(bundle),
        "statement_sha256": report.bundle.statement_sha256,
        "hosts": [_host_value(result) for result in report.results],
    }


def _host_value(result: "HostResult") -> dict[str, Any]:
    sent, loaded = result.sent, result.loaded
    return {
        "host": result.name,
        "state": result.state,
        "folder": sent.folder if sent else None,
        "files_sent": sent.files if sent else 0,
        "bytes_sent": sent.bytes if sent else 0,
        "files_there": sent.there if sent else 0,
        "proved_by": sent.proved_by if sent else None,
        "load": {
            "way": loaded.way,
            "receipt": loaded.receipt,
            **_receipt_value(result.receipt),
            "images": [{"reference": name, "verdict": verdict} for name, verdict in loaded.images],
        }
        if loaded
        else None,
        "error": console.error_value(result.error) if result.error else None,
    }


def _receipt_value(receipt: "ReturnedReceipt | None") -> dict[str, Any]:
    if receipt is None:
        return {"receipt_kept": None, "receipt_error": None, "alarms": []}
    return {
        "receipt_kept": str(receipt.path) if receipt.path else None,
        "receipt_error": str(receipt.error) if receipt.error else None,
        "alarms": list(receipt.alarms),
    }


def _receipt_lines(receipt: "ReturnedReceipt | None") -> list[str]:
    if receipt is None:
        return []
    if receipt.error:
        return [f"the receipt stays there: {receipt.error}"]
    return [f"receipt kept here: {receipt.path}", *(f"alarm: {alarm}" for alarm in receipt.alarms)]


def _lines(report: "SendReport") -> list[str | Table]:
    rows = [
        (
            result.name,
            result.state,
            console.size(result.sent.bytes) if result.sent else "-",
            result.sent.there if result.sent else "-",
            result.sent.folder if result.sent else "-",
        )
        for result in report.results
    ]
    lines: list[str | Table] = [Table(("HOST", "STATE", "SENT", "ALREADY THERE", "FOLDER"), rows)]
    for result in report.results:
        if result.loaded is not None:
            verdicts = [verdict for _, verdict in result.loaded.images]
            counts = ", ".join(f"{verdicts.count(verdict)} {verdict}" for verdict in dict.fromkeys(verdicts))
            lines.append(
                f"{result.name}: loaded {result.loaded.way}: {counts}; receipt {result.loaded.receipt}"
            )
        lines += [f"{result.name}: {line}" for line in _receipt_lines(result.receipt)]
    failed = [result for result in report.results if result.error is not None]
    if len(failed) == len(report.results) > 1:  # then stderr has the error of the first only
        lines += [f"failed: {result.name}: {result.error}" for result in failed]
    if len(report.results) > 1:  # with one host, the hint on stderr is the host's
        lines += [f"remedy for {r.name}: {r.error.hint}" for r in failed if r.error and r.error.hint]
    return lines
