"""Reads the index of a Helm repository, and the metadata in a chart's archive. Both are hostile."""

import io
from collections.abc import Mapping

from airgap.bundle.blob_files import Beginning
from airgap.bundle.compression import Unpacked
from airgap.bundle.tar_entries import read_entries
from airgap.errors import FormatError, NotFoundError
from airgap.limits import (
    MAX_CHART_FILES,
    MAX_CHART_INDEX_BYTES,
    MAX_CHART_INDEX_VALUES,
    MAX_CHART_UNPACKED_BYTES,
    MAX_YAML_BYTES,
)
from airgap.manifest.chart_versions import newest_version
from airgap.manifest.strict_yaml import Value, parse_yaml
from airgap.oci.digest import Digest, read_up_to
from airgap.values import dataclass

_SHOWN = 5
"""Versions in an error."""


@dataclass(frozen=True, slots=True)
class IndexedChart:
    """What an index says of one version of a chart."""

    location: str
    """The address of the archive, absolute or relative to the index."""
    digest: Digest | None
    """The SHA-256 of the archive, if the index states it."""
    version: str


def find_in_index(raw: bytes, where: str, chart: str, version: str) -> IndexedChart:
    """Return a version of a chart: the newest one, if `version` is a range.

    Raises:
        FormatError: The index cannot be read.
        NotFoundError: The index does not have the chart, or no such version of it.
    """
    document = parse_yaml(
        raw, where, MAX_CHART_INDEX_BYTES, max_values=MAX_CHART_INDEX_VALUES, fast=True
    ).value
    entries = _mapping(_mapping(document, where).get("entries"), f"{where}: entries")
    if chart not in entries:
        raise NotFoundError("the repository does not have this chart", subject=where, want=chart)
    versions = entries[chart]
    found = [item for item in versions if isinstance(item, dict)] if isinstance(versions, list) else []
    newest = newest_version([str(item.get("version")) for item in found], version)
    if newest is None:
        others = ", ".join(str(item.get("version")) for item in found[:_SHOWN])
        raise NotFoundError(
            "the repository does not have this version", subject=f"{where}: {chart}", want=version, got=others
        )
    named = next(item for item in found if item.get("version") == newest)
    return _indexed(named, newest, f"{where}: {chart} {newest}")


def _indexed(item: Mapping[str, Value], version: str, where: str) -> IndexedChart:
    urls, digest = item.get("urls"), item.get("digest")
    if not isinstance(urls, list) or not urls or not isinstance(urls[0], str):
        raise FormatError("the index does not say where the chart is", subject=where, want="urls")
    if digest is None or digest == "":
        return IndexedChart(urls[0], None, version)
    text = str(digest).removeprefix("sha256:")
    return IndexedChart(urls[0], Digest.parse(f"sha256:{text}", where), version)


def read_metadata(archive: bytes, where: str, chart: str, version: str) -> dict[str, str]:
    """Return the values of Chart.yaml that are text.

    Raises:
        FormatError: It is not the archive of a chart, or of another chart or version.
    """
    unpacked = Unpacked(io.BytesIO(archive), "gzip", where)
    raw = None
    for entry, data in read_entries(
        Beginning(unpacked, MAX_CHART_UNPACKED_BYTES), max_entries=MAX_CHART_FILES
    ):
        if entry.name == f"{chart}/Chart.yaml" and entry.kind == "file":
            raw = read_up_to(data, MAX_YAML_BYTES + 1)
    if raw is None:
        raise FormatError("not the archive of the chart", subject=where, want=f"{chart}/Chart.yaml")
    values = _mapping(parse_yaml(raw, f"{where}: Chart.yaml").value, f"{where}: Chart.yaml")
    stated = (values.get("name"), values.get("version"))
    if stated != (chart, version):
        got = f"{stated[0]} {stated[1]}"
        raise FormatError("the archive has another chart", subject=where, want=f"{chart} {version}", got=got)
    return {key: value for key, value in values.items() if isinstance(value, str)}


def _mapping(value: "Value | None", where: str) -> dict[str, Value]:
    if not isinstance(value, dict):
        raise FormatError("not a mapping", subject=where)
    return value
