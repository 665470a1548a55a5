"""Pull the images of a manifest into a signed bundle.

Run again after an interruption, it resumes. Run again after it finished, it checks the bundle.

Example: airgap pack stack.yaml --to /media/stick
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from airgap.cli.opening import open_site
from airgap.cli.options import (
    AllowSystemDisk,
    CaFile,
    Debug,
    Full,
    Jobs,
    Json,
    Key,
    Manifest,
    Mirror,
    PassphraseFile,
    PlainHttp,
    Quiet,
    ReadBackChoice,
    Since,
    VolumeSizeText,
)
from airgap.errors import PartialError, UsageError

if TYPE_CHECKING:
    from airgap.bundle.statement import Statement
    from airgap.cli.endpoints import Endpoints
    from airgap.online.terms import PackedBundle, PackOrder
    from airgap.site import Site
    from airgap.trust.keys import Signer

NAME = "pack"
PANEL = "Online"


def run(
    manifest: Manifest,
    to: Annotated[
        list[Path],
        typer.Option(metavar="DIR", help="The medium, or another folder; repeat it to use several media."),
    ],
    key: Key = None,
    passphrase_file: PassphraseFile = None,
    days: Annotated[
        int, typer.Option(metavar="N", min=1, max=3650, help="Days until the bundle expires.")
    ] = 90,
    volume_size: VolumeSizeText = None,
    tar: Annotated[bool, typer.Option("--tar", help="Write one tar in one pass, not a folder.")] = False,
    allow_system_disk: AllowSystemDisk = False,
    read_back: ReadBackChoice = None,
    allow_partial: Annotated[
        bool, typer.Option("--allow-partial", help="Seal without the images that failed (exit code 3).")
    ] = False,
    since: Since = None,
    full: Full = False,
    plain_http: PlainHttp = None,
    ca_file: CaFile = None,
    mirror: Mirror = None,
    jobs: Jobs = 3,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    from airgap.cli.endpoints import Endpoints
    from airgap.cli.sizes import parse_volume_size
    from airgap.online.terms import PackOrder

    if tar and (len(to) > 1 or volume_size):
        raise UsageError("--tar writes one file", want="one --to and no --volume-size with --tar")
    opened = open_site()
    order = PackOrder(
        to=to[0], signers=(), now=opened.now, lifetime=timedelta(days=days), jobs=jobs,
        allow_partial=allow_partial, further=tuple(to[1:]), allow_system=allow_system_disk,
        volume_size=parse_volume_size(volume_size) if volume_size else None, read_back=read_back,
    )  # fmt: skip
    endpoints = Endpoints(tuple(plain_http or ()), ca_file, tuple(mirror or ()), jobs)
    signer, site = partial(_signer, key, passphrase_file), opened.site
    made = _pack(manifest, order, endpoints, signer, since or (), site=site, quiet=quiet, tar=tar, full=full)
    _show(*made, json, debug)


def _pack(
    manifest: Path,
    order: "PackOrder",
    endpoints: "Endpoints",
    signer_at: "Callable[[Site], Signer]",
    since: Sequence[str],
    *,
    site: "Site",
    quiet: bool,
    tar: bool,
    full: bool,
) -> "tuple[PackedBundle, int]":
    """Return the bundle, and how many images it would have if none had failed."""
    from airgap.cli import console
    from airgap.cli.manifest_plan import plan_of
    from airgap.online.pack import pack
    from airgap.online.pack_tar import pack_tar

    signer = signer_at(site)
    progress = console.make_progress(quiet=quiet)
    loaded, plan = plan_of(manifest, endpoints, progress, since, full=full)
    make = pack_tar if tar else pack
    return make(loaded, plan, site, replace(order, signers=(signer,)), progress), plan.total_images


def _signer(key: str | None, passphrase_file: Path | None, site: "Site") -> "Signer":
    from airgap.cli import passphrase

    return site.signing_key(key, passphrase.existing(passphrase_file))


def _show(packed: "PackedBundle", total: int, as_json: bool, debug: bool) -> None:
    from airgap.cli import console

    failed = PartialError("some images are not in the bundle", packed.failures, total)
    value = _value(packed) | {"error": console.error_value(failed) if packed.failures else None}
    console.show_result(value, _lines(packed), as_json=as_json)
    if packed.failures:
        console.show_error(failed, debug=debug)
        raise typer.Exit(failed.exit_code)


def _value(packed: "PackedBundle") -> dict[str, Any]:
    from airgap.cli import console, platforms
    from airgap.cli.requires import requires_value
    from airgap.online.plan import unknown_value

    statement = packed.statement
    return {
        "bundle": str(packed.path),
        "volumes": [str(path) for path in packed.paths],
        "stream": statement.stream,
        "serial": statement.serial,
        "statement_sha256": packed.statement_sha256,
        "bytes": statement.total_bytes,
        "files": len(statement.subjects),
        "requires": requires_value(statement),
        "images": [
            {
                "reference": str(image.name),
                "digest": str(image.digest),
                "platforms": [record.platform for record in image.platforms],
                **platforms.value(packed.choices[str(image.name)]),
            }
            for image in statement.images
        ],
        "fresh": packed.fresh,
        "attachments_unknown": unknown_value(packed.unknown),
        **console.proof_value(packed.proof),
    }


def _lines(packed: "PackedBundle") -> list[str]:
    from airgap.cli import console, platforms
    from airgap.cli.manifest_plan import unknown_lines
    from airgap.cli.requires import requires_text

    statement, needs = packed.statement, requires_text(packed.statement)
    rows = [(i.name, i.digest, i.source) for i in statement.images]
    verb = "sealed" if packed.fresh else "already sealed, and checked completely"
    total = f"{console.size(statement.total_bytes)}, {len(statement.subjects)} files"
    return [
        *console.table(("IMAGE", "DIGEST", "SOURCE"), rows),
        *platforms.lines(packed.choices),
        *console.bundle_lines(verb, statement.title, packed.paths, total),
        *_repacked_lines(statement),
        *([needs] if needs else []),
        *unknown_lines(packed.unknown),
        f"statement sha256 {packed.statement_sha256}",
        *console.proof_lines(packed.proof),
    ]


def _repacked_lines(statement: "Statement") -> list[str]:
    """Return a line for each pinned image that an engine unpacked; only the engine binds it to its digest."""
    return [
        f"{image.name}: repacked, so its digest is not the pinned {image.reference.digest}; "
        "only the engine says that it is that image"
        for image in statement.images
        if image.source.endswith(", repacked")
        and image.reference.digest not in (None, image.digest, *(p.config_digest for p in image.platforms))
    ]
