"""Verify a bundle whose volumes are inserted one after the other. Only the hash states of blobs that continue
on the next volume are kept.
"""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field

from airgap.bundle.volume_table import Cut, Part
from airgap.bundle.volumes import TOGETHER, BundleLocation, VolumeSet, open_bundle, open_part
from airgap.carry.choose_sender import operator_for
from airgap.carry.operator import Operator
from airgap.carry.verify import VerifiedBundle
from airgap.carry.verify_recorded import bundle_attempt, bundle_details, keeper, raise_wrong, verify_here
from airgap.errors import AmbiguousError, DigestMismatchError, IncompleteError, IntegrityError
from airgap.oci.digest import Advance, CheckedReader, Digest, Hasher, copy
from airgap.oci.documents import Descriptor
from airgap.progress import phase_unless
from airgap.workers import errors_of, run_all


@dataclass(slots=True, kw_only=True)
class VolumePass:
    """The progress of verifying the `blobs` of one bundle, volume by volume. The signed digests are proved;
    the unsigned cut only locates the parts.
    """

    blobs: Mapping[Digest, Descriptor]
    volumes: set[int] = field(default_factory=set)
    """The volumes that were read."""
    good: set[Digest] = field(default_factory=set)
    begun: dict[Digest, tuple[Hasher, int]] = field(default_factory=dict)
    """For each unfinished blob in parts: the hash of its first parts, and their number."""
    cut: Cut | None = None
    """The cut of the first volume."""

    def read(self, volumes: VolumeSet, jobs: int, advance: Advance) -> list[IntegrityError]:
        """Read all parts on the inserted volumes; return the errors. Raises `AmbiguousError` for a volume
        from another cut of the bundle, because its parts do not continue the earlier ones.
        """
        self.cut = self.cut or volumes.table.cut
        if volumes.table.cut != self.cut:
            raise AmbiguousError(
                "the volumes are from different cuts",
                subject=volumes.path,
                hint="start again with the volumes of one cut, or use `airgap receive`, which accepts both",
            )

        def read(digest: Digest) -> None:
            self._read(volumes, digest, advance)

        cut = volumes.table.cut.parts
        todo = [digest for digest in self.blobs if digest not in self.good or digest not in cut]
        errors = run_all(read, todo, jobs)
        self.volumes |= set(volumes.folders)
        return errors_of(IntegrityError, errors)

    def _read(self, volumes: VolumeSet, digest: Digest, advance: Advance) -> None:
        if digest not in volumes.table.cut.parts:  # it is on every volume
            name, size = digest.path, self.blobs[digest].size
            with contextlib.closing(
                CheckedReader(volumes.open(name), digest, size, volumes.where(name))
            ) as reader:
                copy(reader, lambda _: None)
            self.good.add(digest)
            return
        files = volumes.table.cut.files(digest)
        hasher, done = self.begun.get(digest, (digest.hasher(), 0))
        for number, (name, part) in enumerate(files):
            if part.volume not in volumes.folders:
                continue
            follows = number == done
            _hash(volumes, name, part, hasher if follows else None, advance)
            if follows:
                done += 1
                self.begun[digest] = (hasher, done)
        if done == len(files):
            computed = Digest(digest.algorithm, hasher.hexdigest())
            if computed != digest:
                raise DigestMismatchError(
                    "wrong digest", subject=volumes.where(digest.path), want=digest, got=computed
                )
            self.good.add(digest)

    def wants(self, volumes: VolumeSet) -> list[int]:
        """Return the volumes that are still needed, the next one first; empty once every blob is proved."""
        needed = set(range(1, volumes.table.cut.of + 1)) - self.volumes
        for digest in volumes.table.cut.parts:
            if digest in self.blobs and digest not in self.good:
                _, done = self.begun.get(digest, (None, 0))
                needed |= {part.volume for _, part in volumes.table.cut.files(digest)[done:]}
        return sorted(needed)


def _hash(volumes: VolumeSet, name: str, part: Part, hasher: Hasher | None, advance: Advance) -> None:
    stream = open_part(volumes.folders[part.volume], name, part)
    with contextlib.closing(stream):
        copy(stream, hasher.update if hasher else lambda _: None, advance)


def verify_in_turn(location: BundleLocation, operator: Operator) -> VerifiedBundle:
    """Do all ten steps for a bundle with some of its volumes at `location`; the operator inserts the others.

    If there is no person to ask, raises `IncompleteError` once the inserted volumes have been read.
    """
    passing: VolumePass | None = None
    operator = operator_for(location, operator)
    first = ""
    with bundle_attempt(location, operator.site, "verify") as attempt:
        while True:
            with open_bundle(location, alone=True) as volumes:
                who = keeper(operator.site, operator.now, accept_jump=operator.accept_jump)
                bundle = verify_here(volumes, operator.site, operator.now, who)
                attempt.add(**bundle_details(bundle))
                if not isinstance(volumes, VolumeSet):
                    raise IncompleteError("not a volume", subject=volumes.path)
                first = first or bundle.statement_sha256
                if bundle.statement_sha256 != first:  # the medium was exchanged after it was recognised
                    raise IncompleteError(
                        "the volume belongs to another bundle", subject=volumes.path, want=first
                    )
                passing = passing or VolumePass(blobs=bundle.blobs)
                _read(volumes, operator, passing)
            attempt.add(volumes=sorted(passing.volumes))
            wanted = passing.wants(volumes)
            if not wanted:
                for digest in bundle.blobs.keys() - passing.good:
                    subject = bundle.statement.title
                    raise IncompleteError("a blob is on none of the volumes", subject=subject, want=digest)
                return bundle
            location = operator.next_volume(location, volumes, bundle.statement.title, wanted, TOGETHER)


def _read(volumes: VolumeSet, operator: Operator, passing: VolumePass) -> None:
    names = ", ".join(map(str, sorted(volumes.folders)))
    total = sum(part.size for _, part in volumes.parts.values() if part.volume in volumes.folders)
    wrong: list[IntegrityError] = []
    title = f"verifying volume {names} of {volumes.table.cut.of}"
    with phase_unless(operator.progress, title, total, lambda: wrong) as advance:
        wrong += passing.read(volumes, operator.jobs, advance)
    raise_wrong(wrong, volumes.path)
