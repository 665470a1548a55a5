"""Whether a medium still holds what was written to it: folders, tars, and volumes alone."""

import json
import shutil
from pathlib import Path

import pytest

from airgap.bundle.contents import ENVELOPE_FILE
from airgap.bundle.files import Folder
from airgap.bundle.medium import Medium
from airgap.carry.operator import Operator
from airgap.carry.verify import verify
from airgap.carry.verify_medium import check_media
from airgap.errors import (
    AirgapError,
    DestinationError,
    DigestMismatchError,
    IncompleteError,
    IntegrityError,
    MissingContentError,
    NoTrustRootError,
)
from airgap.progress import Silent
from tests.support.bundles import ONE, Gap, small_images
from tests.support.damage import flip
from tests.support.images import tar_of

LAYER = small_images()[ONE].layers[0]


class Measured(Silent):
    """Counts the bytes that were read."""

    def __init__(self) -> None:
        self.total = self.read = 0

    def phase(self, title: str, total: int):
        self.total += total
        return super().phase(title, total)


def check(gap: Gap, place, progress=None):
    return check_media(place, Operator(site=gap.site, now=gap.now, progress=progress or Silent(), jobs=1))


def ended(gap: Gap) -> dict:
    return json.loads(gap.site.ledger_path.read_bytes().splitlines()[-1])


def bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_a_folder(gap):
    progress = Measured()
    report = check(gap, gap.bundle, progress)
    assert (report.volumes, report.of, report.bundle.statement) == ((), 1, gap.statement)
    assert [medium.record() for medium in report.proof.media] == [Medium.of(gap.bundle).record()]
    assert progress.total == bytes_of(gap.bundle)  # every file, signatures and envelope too
    end = ended(gap)
    assert (end["event"], end["result"], end["volumes"]) == ("media-verify", "ok", [])
    assert end["read_back"] == report.proof.read_back
    assert ended(gap)["bundle"]["serial"] == gap.statement.serial


@pytest.mark.parametrize("numbers", [(1,), (2,), (3,), (1, 3), (3, 2, 1)])
def test_volumes_alone_and_together(gap, volumes, numbers):
    progress = Measured()
    report = check(gap, [volumes[number - 1] for number in numbers], progress)
    assert (report.volumes, report.of) == (tuple(sorted(numbers)), 3)
    assert progress.total == sum(bytes_of(volumes[number - 1]) for number in numbers)
    assert ended(gap)["volumes"] == sorted(numbers)


def test_a_tar(gap):
    path = gap.folder / "edge-0001.tar"
    names = ["bundle.dsse.json", "statement.json"]
    rest = [p.relative_to(gap.bundle).as_posix() for p in sorted(gap.bundle.rglob("*")) if p.is_file()]
    path.write_bytes(tar_of({n: (gap.bundle / n).read_bytes() for n in dict.fromkeys([*names, *rest])}))
    report = check(gap, path)
    assert (report.volumes, report.of) == ((), 1)
    raw = path.read_bytes()
    flip(path, raw.index((gap.bundle / LAYER.path).read_bytes()) + 9)
    with pytest.raises(DigestMismatchError, match=str(path)):
        check(gap, path)


def test_it_is_not_asked_for_whom_the_bundle_is(gap):
    gap.restate(destinations=("elsewhere",))
    with Folder(gap.bundle) as folder, pytest.raises(DestinationError):
        verify(folder, gap.receiver())
    check(gap, gap.bundle)


EVERY_FILE = sorted(
    ["SHA256SUMS", "VERIFY.txt", "oci-layout", "index.json", "manifest.json", "trust/1.root.json", LAYER.path]
)


@pytest.mark.parametrize("name", EVERY_FILE)
def test_a_flipped_bit_in_a_folder(gap, name):
    flip(gap.bundle / name, 1)
    with pytest.raises(DigestMismatchError) as caught:
        check(gap, gap.bundle)
    assert name in str(caught.value)
    assert ended(gap)["result"] == "refused"


HARMS = {
    "part": (lambda v: flip(v / f"{LAYER.path}.001", 5), DigestMismatchError, f"{LAYER.path}.001"),
    "no part": (lambda v: (v / f"{LAYER.path}.001").unlink(), MissingContentError, f"{LAYER.path}.001"),
    "table": (lambda v: (v / "volume.json").write_bytes(b"{}"), AirgapError, "volume.json"),
    "sums": (lambda v: flip(v / "SHA256SUMS", 5), IntegrityError, "SHA256SUMS"),
    "no envelope": (lambda v: (v / ENVELOPE_FILE).unlink(), IncompleteError, ENVELOPE_FILE),
    "signature": (lambda v: flip(next((v / "sig").iterdir())), IntegrityError, "sig/"),
}


@pytest.mark.parametrize(("harm", "error", "name"), HARMS.values(), ids=HARMS)
def test_a_volume_that_is_harmed(gap, volumes, harm, error, name):
    harm(volumes[1])
    with pytest.raises(error) as caught:
        check(gap, volumes[1])
    assert name in str(caught.value)
    check(gap, [volumes[0], volumes[2]])  # the others are what they were


def test_several_harms_are_told_as_several(gap, volumes):
    for path in sorted((volumes[1] / "blobs/sha256").glob("*.001"))[:3]:
        flip(path)
    with pytest.raises(
        IntegrityError, match=r"the medium does not hold what was written: .* and 2 more"
    ) as caught:
        check(gap, volumes[1])
    assert "write it again with `airgap pack`" in (caught.value.hint or "")


def test_a_site_without_a_root_cannot_tell(gap):
    shutil.rmtree(gap.home / "trust")
    with pytest.raises(NoTrustRootError):
        check(gap, gap.bundle)
