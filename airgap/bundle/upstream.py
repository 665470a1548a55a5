"""The signature of an image's maker that the statement records (FORMAT.md §3, `upstream_signature`)."""

from collections.abc import Iterable
from typing import Any, TypeAlias

from airgap.errors import FormatError
from airgap.limits import MAX_TEXT_CHARACTERS
from airgap.oci.digest import Digest
from airgap.oci.in_toto import sha256_in
from airgap.oci.strict_json import Fields
from airgap.values import dataclass

_SUFFIX = ".trusted_root.json"


@dataclass(frozen=True, slots=True)
class UpstreamSignature:
    """A cosign signature of the image that was valid when the image was packed, and is carried with it."""

    key: str
    """The public key, in PEM."""
    keyid: str
    manifest: Digest
    """The manifest with the signature, which is also an image of the bundle."""

    def to_json(self) -> dict[str, str]:
        """Return the value of `upstream_signature`."""
        return {"key": self.key, "keyid": self.keyid, "manifest": str(self.manifest)}


@dataclass(frozen=True, slots=True, kw_only=True)
class UpstreamIdentity:
    """A keyless cosign signature that was valid when the image was packed, and is carried with it."""

    issuer: str
    subject: str
    trusted_root: str
    """SHA-256 in hex of the Sigstore trusted root, which is also a file of the bundle."""
    manifest: Digest
    """The manifest with the signature, which is also an image of the bundle."""

    @property
    def file(self) -> str:
        """The name of the trusted root in the bundle."""
        return trusted_root_file(self.trusted_root)

    def to_json(self) -> dict[str, str]:
        """Return the value of `upstream_signature`."""
        return {
            "issuer": self.issuer,
            "subject": self.subject,
            "trusted_root_sha256": self.trusted_root,
            "manifest": str(self.manifest),
        }


Upstream: TypeAlias = UpstreamSignature | UpstreamIdentity


def trusted_root_file(sha256: str) -> str:
    """Return the name in a bundle of the Sigstore trusted root with this SHA-256 in hex."""
    return f"trust/{sha256}{_SUFFIX}"


def parse_upstream(fields: Fields) -> Upstream | None:
    """Return the `upstream_signature` of an image. Raises `FormatError` for a value of neither form."""
    if fields.take("upstream_signature") is None:
        return None
    item = fields.child("upstream_signature")
    upstream = _identity(item) if item.has("issuer") else _signature(item)
    item.end()
    return upstream


def check_trusted_roots(upstreams: Iterable[Upstream | None], subjects: Iterable[str], where: str) -> None:
    """Raise `FormatError` unless the files of a statement have exactly the trusted roots that its images
    name.
    """
    needed = {item.file for item in upstreams if isinstance(item, UpstreamIdentity)}
    listed = {name for name in subjects if name.endswith(_SUFFIX)}
    if wrong := sorted(needed ^ listed):
        what = "the trusted root is not listed" if wrong[0] in needed else "no image needs the trusted root"
        raise FormatError(what, subject=where, got=wrong[0])


def _signature(item: Fields) -> UpstreamSignature:
    return UpstreamSignature(item.text("key"), sha256_in(item, "keyid"), _manifest(item))


def _identity(item: Fields) -> UpstreamIdentity:
    return UpstreamIdentity(
        issuer=_line(item, "issuer"),
        subject=_line(item, "subject"),
        trusted_root=sha256_in(item, "trusted_root_sha256"),
        manifest=_manifest(item),
    )


def _line(item: Fields, name: str) -> str:
    text = item.text(name)
    if not text or not text.isprintable() or len(text) > MAX_TEXT_CHARACTERS:
        want = f"1 to {MAX_TEXT_CHARACTERS:,} printable characters"
        raise FormatError("wrong text", subject=f"{item.where}: {name}", want=want, got=repr(text[:80]))
    return text


def _manifest(item: Fields) -> Digest:
    return Digest.parse(item.text("manifest"), item.where)


def upstream_json(upstream: Upstream | None) -> dict[str, Any] | None:
    """Return the value of `upstream_signature`, or None."""
    return None if upstream is None else upstream.to_json()
