"""Sizes as people write them."""

import re
from decimal import Decimal

from airgap.bundle.volume_table import VolumeSize
from airgap.errors import UsageError

FAT32_FILE = 4_294_967_295
"""Bytes of the largest file on FAT32."""

_SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?(B|[KMGT]i?B)", re.IGNORECASE | re.ASCII)
_LEAST_VOLUME = 4 << 20


def parse_volume_size(text: str) -> VolumeSize:
    """From `--volume-size`: `fat32`, or a number of bytes with a unit. Raises `UsageError`."""
    size_text = text.strip(" ")
    if size_text.lower() == "fat32":
        return VolumeSize(file=FAT32_FILE)
    match = _SIZE.fullmatch(size_text)
    if match is None:
        raise UsageError("not a size", want="such as 4GiB, 4.7GB, 700MB, or fat32", got=repr(text))
    unit = match[2].upper()
    base = 1024 if "I" in unit else 1000
    size = int(Decimal(match[1]) * base ** "BKMGT".index(unit[0]))
    if size < _LEAST_VOLUME:
        raise UsageError("too small for a volume", want=f"at least {_LEAST_VOLUME:,} bytes", got=f"{size:,}")
    return VolumeSize(size)
