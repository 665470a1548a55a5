"""Reads sizes as people write them."""

import re
from decimal import Decimal

from airgap.bundle.max_file_size import FAT32_MAX_FILE_BYTES
from airgap.bundle.volume_table import VolumeSize
from airgap.errors import UsageError

_SIZE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,3})?) ?(B|[KMGT]i?B)", re.IGNORECASE | re.ASCII)
_MIN_VOLUME_BYTES = 4 << 20


def parse_volume_size(text: str) -> VolumeSize:
    """Return the size in `--volume-size`: `fat32`, or a number with a unit. Raises `UsageError`."""
    size_text = text.strip(" ")
    if size_text.lower() == "fat32":
        return VolumeSize(file=FAT32_MAX_FILE_BYTES)
    match = _SIZE.fullmatch(size_text)
    if match is None:
        raise UsageError("not a size", want="such as 4GiB, 4.7GB, 700MB, or fat32", got=repr(text))
    unit = match[2].upper()
    base = 1024 if "I" in unit else 1000
    size = int(Decimal(match[1]) * base ** "BKMGT".index(unit[0]))
    if size < _MIN_VOLUME_BYTES:
        raise UsageError(
            "volume size is too small", want=f"at least {_MIN_VOLUME_BYTES:,} bytes", got=f"{size:,}"
        )
    return VolumeSize(size)
