"""Bundles that are pushed into a registry in this process."""

from pathlib import Path

from airgap.bundle.files import Folder
from airgap.carry.verify import verify
from airgap.oci.digest import Digest
from airgap.offline.load import load
from airgap.offline.loader import ConflictRule, LoadedImage, Loading
from airgap.progress import Silent
from tests.support.bundles import Gap, make_gap
from tests.support.images import simple_image
from tests.support.registry import FakeRegistry
from tests.unit.endpoints.registry_support import client

APP, WEB = "registry.test/acme/app:1", "registry.test/acme/web:1"


def two_images(folder: Path) -> Gap:
    return make_gap(folder, images={APP: simple_image("app"), WEB: simple_image("web")})


def go(
    gap: Gap, fake: FakeRegistry, on_conflict: ConflictRule = ConflictRule.REPLACE, **options: object
) -> list[LoadedImage]:
    with Folder(gap.bundle) as folder:
        bundle = verify(folder, gap.receiver())
        return load(client(fake, **options), Loading(bundle, Silent(), on_conflict=on_conflict))


def verdicts(results: list[LoadedImage]) -> list[str]:
    return [str(result.verdict) for result in results]


def tagged(fake: FakeRegistry, repository: str, tag: str = "1") -> Digest:
    return Digest.of(fake.manifests[repository, tag][1])
