"""The names of streams and sites in signed documents."""

import re

from airgap.errors import FormatError
from airgap.oci.strict_json import Fields

STREAM_GRAMMAR = re.compile(r"[a-z0-9][a-z0-9-]{0,62}", re.ASCII)


def parse_stream(fields: Fields, key: str = "stream") -> str:
    """Return the name of a stream. Raises `FormatError` for anything else."""
    stream = fields.text(key)
    if not STREAM_GRAMMAR.fullmatch(stream):
        raise FormatError("not a stream name", subject=fields.where, got=repr(stream))
    return stream


def parse_site(fields: Fields, key: str = "site") -> str:
    """Return the name of a site. Raises `FormatError` for anything else."""
    site = fields.text(key)
    if not STREAM_GRAMMAR.fullmatch(site):
        raise FormatError("not a site name", subject=fields.where, got=repr(site[:80]))
    return site
