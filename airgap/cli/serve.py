"""Serve bundles or OCI folders as a read-only registry.

Bundles are verified first; name a delta bundle together with the bundles that it builds on. Of each stream,
the names of the newest bundle are served. OCI folders are not signed: their origin is not checked.

Example: airgap serve /media/stick/edge-stack-0007 --port 5000 --snippets k3s
"""

import contextlib
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.cli import console, progress_output
from airgap.cli.options import AcceptJump, Output
from airgap.errors import UsageError

if TYPE_CHECKING:
    from airgap.endpoints.ports import NamedSource
    from airgap.endpoints.server import ImageServer

NAME = "serve"


def run(
    sources: Annotated[
        list[Path],
        typer.Argument(metavar="BUNDLE|OCI-DIR", readable=False, help="The bundles or OCI folders to serve."),
    ],
    bind: Annotated[str, typer.Option(metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="Port; 0 selects a free one.")
    ] = 5000,
    snippets: Annotated[
        str | None,
        typer.Option(
            metavar="CLIENT", help="Show the settings that docker, containerd, k3s, or all of them need."
        ),
    ] = None,
    accept_jump: AcceptJump = False,
    *,
    output: Output,
) -> None:
    from airgap.endpoints.server import ImageServer
    from airgap.progress import Silent

    clients = _clients(snippets)
    progress = progress_output.make_progress(quiet=output.quiet)
    with contextlib.ExitStack() as stack:
        served = _opened(sources, stack, accept_jump=accept_jump, output=output)
        log = Silent().note if output.quiet else progress.note  # requests are not warnings
        _serve(ImageServer(served, (bind, port), log=log), clients, output)


def _opened(
    sources: list[Path], stack: contextlib.ExitStack, *, accept_jump: bool, output: Output
) -> "list[NamedSource]":
    """Return the verified bundles and the OCI folders; `stack` closes them."""
    from airgap.advice import SERVED
    from airgap.bundle.contents import ENVELOPE_FILE
    from airgap.bundle.volumes import group_by_bundle
    from airgap.cli.bundle_choice import take_bundles
    from airgap.cli.operator_prompt import make_operator
    from airgap.endpoints.layout import Layout
    from airgap.offline.serve_bundles import served

    sources = take_bundles(sources, NAME, need=SERVED)
    places = group_by_bundle(sources)
    sealed = [source for source in places if source[0].is_file() or (source[0] / ENVELOPE_FILE).exists()]
    if not sealed:
        return [Layout(source[0]) for source in places]
    bundles = iter(stack.enter_context(served(sealed, make_operator(2, output, accept_jump=accept_jump))))
    opened = [next(bundles) if source in sealed else Layout(source[0]) for source in places]
    return [source for source in opened if source is not None]


def _clients(text: str | None) -> tuple[str, ...]:
    from airgap.endpoints.server import CLIENTS

    if text not in (None, "all", *CLIENTS):
        raise UsageError("unknown --snippets", want=", ".join(CLIENTS) + " or all", got=text)
    return CLIENTS if text == "all" else (text,) if text else ()


def _reachable(address: str) -> str:
    """Return the address for clients: a server on all addresses has the name of its machine."""
    host, _, port = address.rpartition(":")
    return f"{platform.node()}:{port}" if host in ("0.0.0.0", "[::]") else address  # noqa: S104


def _serve(server: "ImageServer", clients: tuple[str, ...], output: Output) -> None:
    from airgap.endpoints.server import make_snippets

    address = _reachable(server.address)
    shown = [snippet for client in clients for snippet in make_snippets(client, address, server.registries)]
    value = {
        "address": server.address,
        "repositories": list(server.repositories),
        "notes": list(server.notes),
        "snippets": [{"client": s.client, "path": s.path, "content": s.content} for s in shown],
    }
    short = [name for name in server.repositories if name.partition("/")[2] not in server.repositories]
    lines = [f"serving {len(short)} repositories at http://{server.address} (Ctrl-C to stop)"]
    lines += [f"  {server.address}/{name}" for name in short]
    lines += server.notes
    for snippet in shown:
        lines += ["", *snippet.lines]
    console.show_result(value, lines, output)
    sys.stdout.flush()
    with contextlib.suppress(KeyboardInterrupt):
        server.serve_forever()
