"""Options that several commands share."""

import inspect
import re
from pathlib import Path
from typing import Annotated

import typer


def help_text(docstring: str | None) -> str:
    """A docstring as a help text whose examples keep their lines: the parser wants a mark before them."""
    return re.sub(r"(?m)^(?=Example: |.*:\n  )", "\b\n", inspect.cleandoc(docstring or ""))


Json = Annotated[bool, typer.Option("--json", help="The result as JSON on stdout.")]
Quiet = Annotated[
    bool, typer.Option("--quiet", "-q", help="No progress on stderr, only warnings and errors.")
]
Debug = Annotated[bool, typer.Option("--debug", help="Show where an error arose.")]
Manifest = Annotated[Path, typer.Argument(metavar="MANIFEST", help="The YAML file that lists the images.")]
# `readable=False`: a medium that was pulled out is no slip of the command line, and has its own exit code
Bundle = Annotated[
    Path, typer.Argument(metavar="BUNDLE", readable=False, help="The bundle: a folder or a tar.")
]
Bundles = Annotated[
    list[Path],
    typer.Argument(
        metavar="BUNDLE", readable=False, help="A folder or a tar each, or the folders of all volumes."
    ),
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Holds the passphrase (else AIRGAP_PASSPHRASE, else asked)."),
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
    str,
    typer.Option(
        metavar="NAME", help="ecdsa-p256, ecdsa-p384 or ed25519; ml-dsa-65, ml-dsa-87 where supported."
    ),
]
Mirror = Annotated[
    list[str] | None,
    typer.Option(
        "--mirror",
        metavar="REGISTRY=MIRROR",
        help="Pull from there first; it may be behind with tags. docker.io=mirror.example",
    ),
]
Since = Annotated[
    list[str] | None,
    typer.Option(
        "--since",
        metavar="BASE",
        help="What the other side has: a receipt, a bundle, or a serial sealed here; may be repeated.",
    ),
]
Full = Annotated[
    bool,
    typer.Option("--full", help="Leave nothing out, also after a bundle that lacks some of its images."),
]
To = Annotated[
    str,
    typer.Option(
        metavar="TARGET",
        help="docker, podman, containerd[:NAMESPACE], k3s[:DIR], rke2[:DIR], k0s[:DIR], "
        "registry:HOST[:PORT][/PREFIX], oci:DIR or archive:FILE.",
    ),
]
Map = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="FROM=TO",
        help="Give images below FROM names below TO, as in ghcr.io/acme=harbor.example/mirror; "
        "may be repeated, the longest FROM counts.",
    ),
]
Jobs = Annotated[
    int, typer.Option("--jobs", "-j", metavar="N", min=1, max=64, help="How many files at a time.")
]
VolumeSizeText = Annotated[
    str | None,
    typer.Option(
        "--volume-size",
        metavar="SIZE",
        help="Cut the bundle into volumes of at most 4GiB, 700MB, …; fat32 limits its files only.",
    ),
]
AllowSystemDisk = Annotated[
    bool,
    typer.Option(
        "--allow-system-disk", help="Write also where nothing is mounted, and into the system's own folders."
    ),
]
ReadBackChoice = Annotated[
    bool | None,
    typer.Option(
        "--read-back/--no-read-back",
        show_default=False,
        help="Read all of it back from the medium; by default, unless it is the system's disk.",
    ),
]
AcceptJump = Annotated[
    bool,
    typer.Option(
        "--accept-jump", help="Take a serial that is far above the last one: the sender confirmed it."
    ),
]
Identity = Annotated[
    list[Path] | None, typer.Option(metavar="FILE", help="A private SSH key; may be repeated.")
]
SshConfigFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Instead of ~/.ssh/config and /etc/ssh/ssh_config.")
]
KnownHosts = Annotated[Path | None, typer.Option(metavar="FILE", help="The only host keys to trust.")]
