"""Reads a site's own key, and says what can be done if it is lost or damaged."""

from pathlib import Path

from airgap.errors import KeyFileError
from airgap.trust.keys import SigningKey

_HINT = (
    "put site.key back from a copy of this folder, or run `airgap restore` with the newest backup; without "
    "either, this site begins again in a new AIRGAP_HOME: see docs/recovery.md"
)


def load_site_key(path: Path) -> SigningKey:
    """Return the key. Raises `KeyFileError`, whose hint says what can be done."""
    try:
        return SigningKey.load(path, _no_passphrase)
    except KeyFileError as error:
        if not (error.hint or "").startswith("chmod"):  # the other hints are about people's keys
            error.hint = _HINT
        raise


def _no_passphrase() -> bytes:
    raise KeyFileError("the site's own key must not be encrypted")
