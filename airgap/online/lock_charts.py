"""Locks the charts of repositories over HTTP: each with the address, size and SHA-256 of its archive."""

from airgap.endpoints.web import WebSource
from airgap.errors import AirgapError, DigestMismatchError, EndpointError
from airgap.limits import MAX_CHART_BYTES, MAX_CHART_INDEX_BYTES
from airgap.manifest import LockedFile, LockedImage, TransferManifest
from airgap.manifest.chart_entries import ChartEntry
from airgap.oci.digest import Digest
from airgap.oci.files_artifact import CarriedFile, FileMode
from airgap.oci.helm_chart import chart_config
from airgap.online.chart_files import find_in_index, read_metadata
from airgap.online.plan import Failures, OpenSource, sort_out


def lock_charts(
    manifest: TransferManifest, open_source: OpenSource, failures: Failures | None = None
) -> list[LockedImage]:
    """Return an artifact for each chart of a repository over HTTP. The index and the archives are read.

    Raises the first chart's error or, with `failures`, puts it there if it affects only that chart.
    """
    locked: list[LockedImage] = []
    failed: Failures = {}
    for entry in manifest.charts:
        try:
            locked.append(_lock(entry, open_source))
        except AirgapError as error:
            failed[str(entry.artifact)] = error
    sort_out(failed, failures)
    return locked


def _lock(entry: ChartEntry, open_source: OpenSource) -> LockedImage:
    index = _open(f"{entry.repo}index.yaml", open_source)
    found = find_in_index(index.read(MAX_CHART_INDEX_BYTES), index.name, entry.chart, entry.version)
    url = index.follow(found.location)
    archive = _open(url, open_source).read(MAX_CHART_BYTES)
    digest = Digest.of(archive)
    if found.digest not in (None, digest):
        what = "the chart is not the one in the repository's index"
        raise DigestMismatchError(what, subject=url, want=found.digest, got=digest)
    metadata = read_metadata(archive, url, entry.chart, entry.version)
    name = f"{entry.chart}-{entry.version}.tgz"
    carried = CarriedFile(name=name, mode=FileMode.DATA, digest=digest, size=len(archive))
    return LockedImage.of_chart(
        entry.artifact, LockedFile(carried=carried, path=None, url=url), chart_config(metadata).decode()
    )


def _open(url: str, open_source: OpenSource) -> WebSource:
    source = open_source(url, None, None)
    if not isinstance(source, WebSource):
        raise EndpointError("not a web server", subject=url)
    return source
