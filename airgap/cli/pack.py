"""Pull the images of a manifest into a signed bundle.

Interrupted and run again, it goes on where it was. Run once more after that, it checks what is there.

Example: airgap pack stack.yaml --to /media/stick
"""

from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli.options import (
    CaFile,
    Debug,
    Jobs,
    Json,
    Key,
    Manifest,
    Mirror,
    PassphraseFile,
    PlainHttp,
    Quiet,
    Since,
)
from airgap.errors import PartialError

if TYPE_CHECKING:
    from airgap.online.stating import PackedBundle

NAME = "pack"
PANEL = "Online"


def run(
    manifest: Manifest,
    to: Annotated[
        Path, typer.Option(metavar="DIR", help="The medium, or another folder, to make the bundle in.")
    ],
    key: Key = None,
    passphrase_file: PassphraseFile = None,
    days: Annotated[
        int, typer.Option(metavar="N", min=1, max=3650, help="Days until the bundle expires.")
    ] = 90,
    tar: Annotated[bool, typer.Option("--tar", help="One tar instead of a folder, in one pass.")] = False,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Seal without the images that failed (exit code 3).")
    ] = False,
    since: Since = None,
    plain_http: PlainHttp = None,
    ca_file: CaFile = None,
    mirror: Mirror = None,
    jobs: Jobs = 3,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    from airgap.cli import console, passphrase
    from airgap.cli.endpoints import Endpoints
    from airgap.cli.planning import plan_of
    from airgap.online.pack import pack
    from airgap.online.pack_tar import pack_tar
    from airgap.online.stating import Order
    from airgap.site import Site, default_home, now

    site = Site(default_home())
    signer = site.signing_key(key, passphrase.existing(passphrase_file))
    progress = console.make_progress(quiet=quiet)
    loaded, plan = plan_of(
        manifest,
        Endpoints(tuple(plain_http or ()), ca_file, tuple(mirror or ()), jobs),
        progress,
        since or (),
    )
    order = Order(to, (signer,), now(), timedelta(days=days), jobs, allow_partial)
    packed = (pack_tar if tar else pack)(loaded, plan, site, order, progress)
    _show(packed, PartialError("some images are not in it", packed.failures, plan.total_images), json, debug)


def _show(packed: "PackedBundle", failed: PartialError, as_json: bool, debug: bool) -> None:
    from airgap.cli import console

    value = _value(packed) | {"error": console.error_value(failed) if packed.failures else None}
    console.show_result(value, _lines(packed), as_json=as_json)
    if packed.failures:
        console.show_error(failed, debug=debug)
        raise typer.Exit(failed.exit_code)


def _value(packed: "PackedBundle") -> dict[str, Any]:
    statement = packed.statement
    return {
        "bundle": str(packed.path),
        "stream": statement.stream,
        "serial": statement.serial,
        "statement_sha256": packed.statement_sha256,
        "bytes": statement.total_bytes,
        "files": len(statement.subjects),
        "images": [{"reference": str(i.name), "digest": str(i.digest)} for i in statement.images],
        "fresh": packed.fresh,
    }


def _lines(packed: "PackedBundle") -> list[str]:
    from airgap.cli import console

    statement = packed.statement
    rows = [(i.name, i.digest, i.source) for i in statement.images]
    verb = "sealed" if packed.fresh else "already sealed, all of it checked"
    total = f"{console.size(statement.total_bytes)}, {len(statement.subjects)} files"
    return [
        *console.table(("IMAGE", "DIGEST", "SOURCE"), rows),
        f"{verb}: {packed.path} ({total})",
        f"statement sha256 {packed.statement_sha256}",
    ]
