"""Serve bundles or OCI folders as a read-only registry.

Bundles are verified first. For OCI folders nothing says who made them.

Example: airgap serve /media/stick/edge-stack-0007 --port 5000
"""

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.cli.options import Debug, Json, Quiet

if TYPE_CHECKING:
    from airgap.endpoints.server import ImageServer

NAME = "serve"
PANEL = "Offline"


def run(
    sources: Annotated[list[Path], typer.Argument(metavar="BUNDLE|OCI-DIR", help="What to serve.")],
    bind: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="Port; 0 takes a free one.")
    ] = 5000,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    from airgap.bundle.seal import ENVELOPE_FILE
    from airgap.bundle.volumes import grouped
    from airgap.cli import console
    from airgap.endpoints.layout import Layout
    from airgap.endpoints.server import ImageServer, NamedSource
    from airgap.offline.session import bundle_source, verify_bundle
    from airgap.site import Site, default_home, now

    progress = console.make_progress(quiet=quiet)
    with contextlib.ExitStack() as stack:
        served: list[NamedSource] = []
        for place in grouped(sources):
            path = place[0]
            if path.is_file() or (path / ENVELOPE_FILE).exists():
                verify_bundle(place, Site(default_home()), now(), 2, progress)
                served.append(stack.enter_context(bundle_source(place, Site(default_home()), now())))
            else:
                served.append(Layout(path))
        _serve(ImageServer(served, (bind, port), log=progress.note), as_json=json)


def _serve(server: "ImageServer", *, as_json: bool) -> None:
    from airgap.cli import console

    value = {
        "address": server.address,
        "repositories": list(server.repositories),
        "notes": list(server.notes),
    }
    short = [name for name in server.repositories if name.partition("/")[2] not in server.repositories]
    lines = [f"serving {len(short)} repositories at http://{server.address} (Ctrl-C ends it)"]
    lines += [f"  {server.address}/{name}" for name in short]
    console.show_result(value, lines + list(server.notes), as_json=as_json)
    sys.stdout.flush()
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
