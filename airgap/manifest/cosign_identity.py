"""`cosign-identity:` of an image in a manifest and in its lock: whose keyless signature it must have."""

from pathlib import Path
from typing import Annotated, Protocol, TypeAlias

from pydantic import ConfigDict, Field, WithJsonSchema

from airgap.errors import FormatError
from airgap.limits import MAX_TEXT_CHARACTERS
from airgap.manifest.fields import FilePath, LineText
from airgap.manifest.locked_files import written_path
from airgap.manifest.strict_yaml import Document, YamlPath
from airgap.manifest.validate import Strict
from airgap.values import dataclass

IDENTITY_KEY = "cosign-identity"
_ExactText = Annotated[
    LineText, WithJsonSchema({"type": "string", "minLength": 1, "maxLength": MAX_TEXT_CHARACTERS})
]


class CosignIdentityDocument(Strict):
    """The identity that must have signed an image without a key, exactly as the certificate has it."""

    model_config = ConfigDict(title="Identity of a keyless signature")

    issuer: Annotated[
        _ExactText, Field(description="The address of the OpenID Connect provider, as in the certificate.")
    ]
    subject: Annotated[
        _ExactText,
        Field(description="The mail address or URI in the certificate: the whole of it, not a pattern."),
    ]
    trusted_root: Annotated[
        FilePath,
        Field(
            alias="trusted-root",
            description="Sigstore's trusted root, whose authorities and logs count; "
            "a path relative to the manifest's folder.",
        ),
    ]


CosignIdentityField: TypeAlias = Annotated[
    CosignIdentityDocument | None,
    Field(
        alias=IDENTITY_KEY,
        description="The identity of a keyless cosign signature that must be valid at the source; "
        "it needs airgap[sigstore].",
    ),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class CosignIdentity:
    """Whose keyless signature an image must have."""

    issuer: str
    subject: str
    trusted_root: Path
    """Sigstore's trusted root, an absolute path."""

    def to_yaml(self, folder: Path | None) -> dict[str, str]:
        """Return the mapping of a file in `folder`."""
        path = written_path(self.trusted_root, folder)
        return {"issuer": self.issuer, "subject": self.subject, "trusted-root": path}


class _Item(Protocol):
    """An item of a manifest or of a lock."""

    @property
    def cosign_key(self) -> str | None: ...

    @property
    def cosign_identity(self) -> CosignIdentityDocument | None: ...


def parse_identity(
    item: _Item, document: Document, yaml_path: YamlPath, folder: Path
) -> CosignIdentity | None:
    """Return the identity of an item, with a path from `folder`. Raises `FormatError` beside a key."""
    identity = item.cosign_identity
    if identity is None:
        return None
    if item.cosign_key is not None:
        raise FormatError(
            "an image has a key and an identity",
            subject=document.at((*yaml_path, IDENTITY_KEY)),
            want=f"'cosign-key' or '{IDENTITY_KEY}'",
        )
    return CosignIdentity(
        issuer=identity.issuer, subject=identity.subject, trusted_root=folder / identity.trusted_root
    )
