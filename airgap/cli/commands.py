"""The table of commands: what `airgap --help` lists, without importing any of them."""

from typing import NamedTuple


class Listed(NamedTuple):
    """A command in the table."""

    panel: str
    """The side of the gap where it is used."""
    summary: str
    """The first sentence of its help."""
    module: str = ""
    """The module of `airgap.cli`, if it does not have the command's name."""


COMMANDS = {
    "init": Listed("Online", "Set up a sending site: key, trust root and ledger."),
    "discover": Listed("Online", "Find the images that deployment files run, and write them as a manifest."),
    "lock": Listed("Online", "Pin every tag to its digest."),
    "plan": Listed("Online", "Show what `pack` would carry."),
    "pack": Listed(
        "Online", "Pull images into a signed bundle: those of a manifest, or those that are named."
    ),
    "sign": Listed(
        "Both sides", "Add a signature to a sealed bundle, after showing it, and checking all of it."
    ),
    "recall": Listed(
        "Online",
        "Recall a bundle: it must no longer be used at any site, not even at one that has accepted it.",
    ),
    "inspect": Listed("Offline", "Show what a bundle contains and who signed it."),
    "diff": Listed("Both sides", "Compare the images of two manifests, locks or bundles."),
    "verify": Listed("Offline", "Check a bundle's signatures, policy and every byte."),
    "receive": Listed("Offline", "Join a bundle from its volumes, or copy it from its medium."),
    "load": Listed("Offline", "Verify a bundle and load its images."),
    "send": Listed("Both sides", "Send a bundle to hosts over SSH."),
    "serve": Listed("Offline", "Serve bundles or OCI folders as a read-only registry."),
    "repack": Listed(
        "Both sides", "Cut a bundle into volumes, into volumes of another size, or join it into one folder."
    ),
    "repair": Listed("Both sides", "Repair a damaged copy of a bundle from another copy."),
    "backup": Listed(
        "Trust and audit", "Write an encrypted backup of AIRGAP_HOME: keys, trust roots, ledger and receipts."
    ),
    "restore": Listed("Trust and audit", "Restore AIRGAP_HOME from a backup."),
    "help": Listed("Both sides", "Show the help of airgap or of a command.", "help_command"),
    "version": Listed("Both sides", "Show the version of airgap."),
    "key": Listed("Both sides", "Make, list, show and add signing keys, and change their passphrases."),
    "trust": Listed("Both sides", "Show, install or change the trust root."),
    "receipt": Listed("Both sides", "Show receipts of loads, and import those that came back."),
    "audit": Listed("Both sides", "Read the audit ledger, report from it, or check that it is complete."),
    "kit": Listed("Online", "Make a kit: airgap itself on a medium, for machines with no network."),
}
"""In the order of `airgap --help`."""

RESUMING = ("pack", "receive", "load", "send", "repack", "repair")
"""The commands that resume where an interrupted run stopped; the others start again from the beginning."""
