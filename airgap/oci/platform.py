"""Platforms: `linux/amd64`, `linux/arm/v7` (OCI image-spec, image-index.md; containerd/platforms)."""

import re
from dataclasses import dataclass
from typing import Self

from airgap.errors import FormatError

_PART = re.compile(r"[a-z0-9][a-z0-9._-]*", re.ASCII)
_ARCHITECTURES = {
    "x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "i386": "386", "i686": "386",
    "armhf": "arm", "armel": "arm",
}  # fmt: skip
_DEFAULT_VARIANT = {"arm64": "v8", "arm": "v7", "amd64": "v1"}


@dataclass(frozen=True, slots=True, order=True)
class Platform:
    """An operating system and an architecture; `variant` is empty where it is the usual one."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str, where: str = "platform") -> Self:
        """`os/architecture[/variant]`; raises `FormatError`."""
        parts = text.split("/") if isinstance(text, str) else []
        if len(parts) not in (2, 3) or not all(_PART.fullmatch(part) for part in parts):
            raise FormatError(
                "not a platform", subject=where, want="os/architecture[/variant]", got=repr(text)
            )
        return cls.of(*parts)

    @classmethod
    def of(cls, os: str, architecture: str, variant: str = "") -> Self:
        """The platform in its usual spelling: `x86_64` is `amd64`, `arm64/v8` is `arm64`."""
        architecture = _ARCHITECTURES.get(architecture, architecture)
        if variant == _DEFAULT_VARIANT.get(architecture):
            variant = ""
        return cls(os, architecture, variant)

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))
