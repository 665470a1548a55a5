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
_VARIANTS = {
    "amd64": ("v4", "v3", "v2", "v1"),
    "arm64": ("v9", "v8"),
    "arm": ("v8", "v7", "v6", "v5"),
}
"""A machine also runs images for the variants after its own."""


@dataclass(frozen=True, slots=True, order=True)
class Platform:
    """An operating system and an architecture; `variant` is empty if it is the usual one."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str, where: str = "platform") -> "Platform":
        """Parse `os/architecture[/variant]`; raises `FormatError`."""
        parts = text.split("/") if isinstance(text, str) else []
        if len(parts) not in (2, 3) or not all(_PART.fullmatch(part) for part in parts):
            raise FormatError(
                "not a platform", subject=where, want="os/architecture[/variant]", got=repr(text)
            )
        return cls.of(*parts).normal()

    @classmethod
    def of(cls, os: str, architecture: str, variant: str = "") -> Self:
        """Return the platform in its usual spelling: `x86_64` is `amd64`, `arm64/v8` is `arm64`."""
        architecture = _ARCHITECTURES.get(architecture, architecture)
        if variant == _DEFAULT_VARIANT.get(architecture):
            variant = ""
        return cls(os, architecture, variant)

    def normal(self) -> "Platform":
        """Return the form for comparison: some index entries have `8` for `v8`; records keep it."""
        bare_number = self.architecture in _VARIANTS and self.variant[:1].isdecimal()
        return Platform.of(self.os, self.architecture, f"v{self.variant}") if bare_number else self

    def met_by(self) -> tuple["Platform", ...]:
        """Return this platform and the older variants that its machines also run, best first."""
        order = _VARIANTS.get(self.architecture, ())
        own = self.variant or _DEFAULT_VARIANT.get(self.architecture, "")
        older = order[order.index(own) + 1 :] if own in order else ()
        return (self, *(Platform.of(self.os, self.architecture, variant) for variant in older))

    def pulled_as(self) -> tuple["Platform", ...]:
        """Return the platforms that `docker pull` accepts on such a machine, best first: 32-bit images are
        last (containerd/platforms, `Only`).
        """
        if self.architecture == "amd64":
            return (*self.met_by(), Platform.of(self.os, "386"))
        if self.architecture == "arm64":
            return (*self.met_by(), *Platform.of(self.os, "arm", "v8").met_by())
        return self.met_by()

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


UNKNOWN = Platform("unknown", "unknown")
"""The platform of an image without one, or of an index entry that is not an image (an attestation)."""
