"""Options that several commands share."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Machine-readable result on stdout.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress, no notes.")]
Debug = Annotated[bool, typer.Option("--debug", help="A full trace on errors.")]
Manifest = Annotated[Path, typer.Argument(metavar="MANIFEST", help="The YAML file that lists the images.")]
Bundle = Annotated[Path, typer.Argument(metavar="BUNDLE", help="The bundle's folder.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Passphrase of the signing key (else AIRGAP_PASSPHRASE, else asked)."),
]
Key = Annotated[
    str | None, typer.Option("--key", metavar="OWNER", help="Which signing key, if there are more.")
]
PlainHttp = Annotated[
    list[str] | None,
    typer.Option("--plain-http", metavar="HOST", help="Speak HTTP with this registry (loopback always may)."),
]
CaFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="CA certificates for registries, beside the system's.")
]
Algorithm = Annotated[
    str, typer.Option(help="ecdsa-p256, ecdsa-p384, ed25519; ml-dsa-65, ml-dsa-87 where supported.")
]
Jobs = Annotated[int, typer.Option("--jobs", "-j", min=1, max=64, help="How much at a time.")]
