"""Options that several commands share, alone and in groups.

A group is a dataclass of options, which a command takes as one parameter: see `airgap.cli.register`.
"""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from airgap.cli import complete
from airgap.errors import UsageError
from airgap.values import dataclass

if TYPE_CHECKING:
    from airgap.bundle.volumes import BundleLocation
    from airgap.carry.receipt_copies import CopyReceipt
    from airgap.endpoints.ssh import Ssh
    from airgap.site import Site
    from airgap.trust.keys import Signer

STDIN = Path("-")
"""The bundle that is read from standard input."""

Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress, only warnings and errors.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error.")]
Wide = Annotated[bool, typer.Option("--wide", help="Show tables in full, even on a terminal.")]
Images = Annotated[
    list[Path],
    typer.Argument(
        metavar="MANIFEST|IMAGE",
        help="The YAML file that lists the images, or the images themselves: nginx:1.27 redis:7.",
    ),
]
StreamName = Annotated[
    str | None,
    typer.Option(
        "--name", metavar="NAME", help="The stream of images on the command line (default: their names)."
    ),
]
# `readable=False`: a medium that was pulled out is not a usage error, and has its own exit code
Bundle = Annotated[
    Path, typer.Argument(metavar="BUNDLE", readable=False, help="The bundle: a folder or a tar.")
]
BundlePaths = Annotated[
    list[Path],
    typer.Argument(
        metavar="BUNDLE",
        readable=False,
        help="Bundles (each a folder or a tar), or the folders of all volumes of one.",
    ),
]
Bundles = Annotated[
    list[Path],
    typer.Argument(
        metavar="BUNDLE",
        readable=False,
        help="Bundles (each a folder or a tar), or the folders of all volumes of one. The folder of a medium "
        "means the bundle on it, and a name (weekly-0007) the bundle here or on a mounted medium.",
    ),
]
PassphraseFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="File with the passphrase (default: AIRGAP_PASSPHRASE, or a prompt)."),
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="OWNER",
        help="The signing key to use, if there are several.",
        autocompletion=complete.key_owners,
    ),
]
PlainHttp = Annotated[
    list[str] | None,
    typer.Option(
        "--plain-http", metavar="HOST", help="Use HTTP for this registry (not needed for loopback)."
    ),
]
CaFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="CA certificates for registries, besides the system's.")
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
        help="Pull from MIRROR first, as in docker.io=mirror.example; its tags may be older.",
    ),
]
Since = Annotated[
    list[str] | None,
    typer.Option(
        "--since",
        metavar="BASE",
        help="What the receivers have: a receipt, a bundle or its name, a serial sealed here, or `sites` "
        "(the latest receipt of each destination); may be repeated.",
    ),
]
Full = Annotated[
    bool,
    typer.Option("--full", help="Carry everything, even if the last bundle was sealed without some images."),
]
WithoutBase = Annotated[
    list[str] | None,
    typer.Option(
        "--without-base",
        metavar="SITE",
        help="A destination that has no base, and may not be able to load the bundle; may be repeated.",
    ),
]
TO_HELP = (
    "docker, podman, containerd[:NAMESPACE], k3s[:DIR], rke2[:DIR], k0s[:DIR], "
    "registry:HOST[:PORT][/PREFIX], oci:DIR or archive:FILE."
)
To = Annotated[str, typer.Option(metavar="TARGET", help=TO_HELP, autocompletion=complete.targets)]
Map = Annotated[
    list[str] | None,
    typer.Option(
        "--map",
        metavar="FROM=TO",
        help="Rename images below FROM to names below TO, as in ghcr.io/acme=harbor.example/mirror; "
        "may be repeated, the longest matching FROM applies.",
    ),
]
Jobs = Annotated[
    int,
    typer.Option("--jobs", "-j", metavar="N", min=1, max=64, help="Number of files to process at a time."),
]
VolumeSizeText = Annotated[
    str | None,
    typer.Option(
        "--volume-size",
        metavar="SIZE",
        help="Cut the bundle into volumes of at most 4GiB, 700MB, …; fat32 limits the file size only.",
    ),
]
AllowSystemDisk = Annotated[
    bool,
    typer.Option(
        "--allow-system-disk", help="Allow writing where no medium is mounted, and into system folders."
    ),
]
ReadBackChoice = Annotated[
    bool | None,
    typer.Option(
        "--read-back/--no-read-back",
        show_default=False,
        help="Read everything back from the medium (the default, except on the system disk).",
    ),
]
AcceptJump = Annotated[
    bool,
    typer.Option(
        "--accept-jump", help="Accept a serial far above the last one, after the sender confirmed it."
    ),
]
ReceiptTo = Annotated[
    Path | None,
    typer.Option(
        "--receipt-to", metavar="DIR", help="Copy the receipt into this folder, and not beside the bundle."
    ),
]
NoReceiptCopy = Annotated[
    bool, typer.Option("--no-receipt-copy", help="Copy the receipt nowhere: the medium is not written.")
]
Identity = Annotated[
    list[Path] | None, typer.Option(metavar="FILE", help="A private SSH key; may be repeated.")
]
SshConfigFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Used instead of ~/.ssh/config and /etc/ssh/ssh_config.")
]
KnownHosts = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Trust the host keys in this file only.")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """How a command shows its progress, its result and its errors."""

    json: Json = False
    quiet: Quiet = False
    debug: Debug = False


@dataclass(frozen=True, slots=True, kw_only=True)
class TableOutput(Output):
    """The output of a command that shows tables."""

    wide: Wide = False


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistryAccess:
    """How registries are reached."""

    plain_http: PlainHttp = None
    ca_file: CaFile = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PullAccess(RegistryAccess):
    """How registries are reached for pulling."""

    mirror: Mirror = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SshAccess:
    """How hosts are reached over SSH."""

    identity: Identity = None
    passphrase_file: PassphraseFile = None
    ssh_config: SshConfigFile = None
    known_hosts: KnownHosts = None

    def make_ssh(self) -> "Ssh":
        """Return SSH with these options."""
        from airgap.cli import passphrase
        from airgap.endpoints.ssh import Ssh, SshOptions

        ask = passphrase.existing(self.passphrase_file, "the SSH key")
        return Ssh(SshOptions(self.ssh_config, self.known_hosts, tuple(self.identity or ()), ask))


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseChoice:
    """What a bundle can leave out."""

    since: Since = None
    without_base: WithoutBase = None
    full: Full = False

    def check(self) -> None:
        """Raise `UsageError` for options that exclude each other."""
        if self.full and self.since:
            raise UsageError("--full excludes --since", want="one of them")
        if self.without_base and not self.since:
            raise UsageError("--without-base needs --since", subject=self.without_base[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptCopying:
    """Where `load` copies the receipt, which goes home with the medium."""

    receipt_to: ReceiptTo = None
    no_receipt_copy: NoReceiptCopy = False

    def check(self) -> None:
        """Raise `UsageError`, before anything is loaded, if the receipt cannot be copied as asked."""
        from airgap.carry.receipt_copies import check_folder

        if self.receipt_to and self.no_receipt_copy:
            raise UsageError("--receipt-to excludes --no-receipt-copy", want="one of them")
        if self.receipt_to:
            check_folder(self.receipt_to)

    def copier(self, bundle: "BundleLocation") -> "CopyReceipt | None":
        """Return the function that copies the receipt of a bundle; None if there is no place for a copy."""
        from airgap.bundle.volumes import paths_of
        from airgap.carry.receipt_copies import copy_beside, copy_into

        if self.receipt_to:
            return partial(copy_into, self.receipt_to)
        if self.no_receipt_copy or paths_of(bundle) == (STDIN,):
            return None
        return partial(copy_beside, bundle)


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningChoice:
    """The key that signs a bundle or kit."""

    key: Key = None
    passphrase_file: PassphraseFile = None

    def signer(self, site: "Site") -> "Signer":
        """Return the signing key of `site`; a person is asked for its passphrase when it signs."""
        from airgap.cli import passphrase

        return passphrase.signing_key(site, self.key, self.passphrase_file)


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaWriting:
    """How media are written and checked."""

    allow_system_disk: AllowSystemDisk = False
    read_back: ReadBackChoice = None
