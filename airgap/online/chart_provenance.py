"""Checks the provenance file of a chart: a text with the SHA-256 of its archive, signed with OpenPGP.

The signature is checked by `gpgv`, which uses no network, no agent and no keys but those of the keyring. What
is compared is the text that gpgv has verified and written out, not the file.
"""

import shutil
from pathlib import Path

from airgap.errors import FormatError, SignatureMismatchError, UnavailableError, UnknownKeyError, printable
from airgap.limits import GPGV_SECONDS, MAX_PROVENANCE_BYTES
from airgap.manifest.strict_yaml import Value, parse_yaml
from airgap.oci.digest import Digest
from airgap.online.read_chart import ReadChart
from airgap.programs import Program, last_line

_STATUS = "[GNUPG:] "
_REASONS = {
    "BADSIG": "the text was changed after it was signed",
    "EXPSIG": "the signature has expired",
    "EXPKEYSIG": "the key has expired",
    "REVKEYSIG": "the key was revoked",
    "ERRSIG": "gpgv cannot check the signature",
}
"""Words of gpgv about signatures that do not count (GnuPG, doc/DETAILS)."""
_PARTS = "\n...\n"
"""Separates the metadata from the sums, as in Helm."""


def check_provenance(chart: ReadChart, keyring: Path) -> str:
    """Return the fingerprint of the key that signed the provenance file of a chart.

    Raises:
        FormatError: There is no such keyring, or the signed text is not one of Helm.
        SignatureMismatchError: The signature is not valid, or it is about another chart.
        UnavailableError: gpgv is not installed.
        UnknownKeyError: The keyring does not have the key.
    """
    if not keyring.is_file():
        raise FormatError("no such file", subject=keyring)
    text, fingerprint = _verified_text(chart, keyring)
    metadata, separator, sums = text.partition(_PARTS.encode())
    if not separator:
        raise FormatError("not a provenance file of Helm", subject=chart.where, want="metadata and sums")
    stated = _mapping(metadata, chart)
    if (stated.get("name"), stated.get("version")) != (chart.name, chart.version):
        got = printable(f"{stated.get('name')} {stated.get('version')}")
        what = "the provenance file is about another chart"
        raise SignatureMismatchError(what, subject=chart.where, want=f"{chart.name} {chart.version}", got=got)
    files = _mapping(sums, chart).get("files")
    want = f"sha256:{Digest.of(chart.archive).hex}"
    stated_sum = files.get(chart.file_name) if isinstance(files, dict) else None
    if stated_sum != want:
        what = "the provenance file has another sum"
        raise SignatureMismatchError(what, subject=chart.where, want=want, got=printable(stated_sum))
    return fingerprint


def _mapping(raw: bytes, chart: ReadChart) -> dict[str, Value]:
    where = f"{chart.where}: provenance file"
    value = parse_yaml(raw, where).value
    if not isinstance(value, dict):
        raise FormatError("not a mapping", subject=where)
    return value


def _verified_text(chart: ReadChart, keyring: Path) -> tuple[bytes, str]:
    """Return the text that one valid signature covers, and the fingerprint of its key."""
    path = shutil.which("gpgv")
    if path is None:
        hint = "install it, as in `apt install gpgv`, or remove `keyring:`"
        want = "gpgv, which checks provenance files"
        raise UnavailableError("gpgv is not installed", subject=chart.where, want=want, hint=hint)
    argv = [
        path, "--homedir", "/nonexistent", "--status-fd", "2", "--keyring", str(keyring.absolute()),
        "--output", "-", "-",
    ]  # fmt: skip
    program = Program(title="gpgv", argv=argv, seconds=GPGV_SECONDS, max_bytes=4 * MAX_PROVENANCE_BYTES)
    finished = program.run(chart.provenance or b"", {"LC_ALL": "C"})
    lines = finished.complaint.decode("utf-8", "replace").splitlines()
    words = [line.removeprefix(_STATUS).split() for line in lines if line.startswith(_STATUS)]
    names = [word[0] for word in words if word]
    if "NO_PUBKEY" in names:
        key = next((word[1] for word in words if word[0] == "NO_PUBKEY" and len(word) > 1), "")
        what = "the keyring does not have the key of the provenance file"
        want = f"a key in {keyring}"
        raise UnknownKeyError(what, subject=chart.where, want=want, got=printable(key), hint=_hint(keyring))
    reason = next((text for name, text in _REASONS.items() if name in names), None)
    fingerprints = [word[-1] for word in words if word[0] == "VALIDSIG"]
    once = [names.count(name) for name in ("NEWSIG", "GOODSIG", "VALIDSIG", "PLAINTEXT")] == [1] * 4
    if reason or finished.code or not once:
        raise SignatureMismatchError(
            "the signature of the provenance file is not valid",
            subject=chart.where, want="one valid signature",
            got=reason or printable(last_line(finished.complaint))[:200],
            hint=_hint(keyring),
        )  # fmt: skip
    return finished.output.replace(b"\r\n", b"\n"), fingerprints[0]


def _hint(keyring: Path) -> str | None:
    with keyring.open("rb") as file:
        is_text = file.read(5) == b"-----"
    return f"gpgv needs a binary keyring: run `gpg --dearmor {keyring}`" if is_text else None
