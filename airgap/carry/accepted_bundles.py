"""The bundles that this site accepted before (FORMAT.md §7.1, rule 6), by its ledger and its own copies of
their envelopes. Reading both is slow, so it is done only for a bundle that would be refused otherwise.
"""

from collections.abc import Collection, Iterator

from airgap.bundle.delta_bases import DeltaBase
from airgap.bundle.statement import Statement
from airgap.durable import exists
from airgap.errors import FormatError
from airgap.limits import MAX_ENVELOPE_BYTES
from airgap.oci.digest import Digest
from airgap.owned import read_owned
from airgap.site import Mark, MarkKind, Site
from airgap.trust.envelope import Envelope
from airgap.values import dataclass


@dataclass(frozen=True, slots=True)
class AcceptedBundles:
    """What `site` remembers of the bundles that it accepted."""

    site: Site

    def include(self, statement: Statement, sha256: str) -> bool:
        """Return whether this very statement was accepted before. For the bundle of the mark, the mark is
        enough.
        """
        mark = Mark(statement.epoch, statement.serial, sha256)
        if self.site.received(statement.stream) == mark:
            return True
        kept = self._kept(statement.stream, mark)
        return kept is not None and mark in self.site.accepted.of(statement.stream)

    def needing(self, statement: Statement) -> tuple[Statement, ...]:
        """Return the newer accepted bundles that leave out content which this one has, newest first."""
        place = (statement.epoch, statement.serial)
        newest_first = self._newest_first(statement.stream)
        return tuple(
            newer for newer in newest_first if (newer.epoch, newer.serial) > place and needs(newer, statement)
        )

    def has_place(self, base: DeltaBase) -> bool:
        """Return whether a bundle with this place in its stream was accepted before, by the ledger."""
        marks = self.site.accepted.of(base.stream)
        return any((mark.epoch, mark.serial) == (base.epoch, base.serial) for mark in marks)

    def holding(self, stream: str, blobs: Collection[Digest]) -> tuple[Statement, ...]:
        """Return the newest accepted bundles that together have the `blobs`, or as many of them as accepted
        bundles have, oldest first.
        """
        wanted, holders = set(blobs), list[Statement]()
        for statement in self._newest_first(stream):
            if found := {blob for blob in wanted if blob.path in statement.subjects}:
                wanted -= found
                holders.append(statement)
        return tuple(reversed(holders))

    def _newest_first(self, stream: str) -> Iterator[Statement]:
        marks = set(self.site.accepted.of(stream))
        if (mark := self.site.received(stream)) is not None:
            marks.add(mark)
        for mark in sorted(marks, key=lambda mark: (mark.epoch, mark.serial), reverse=True):
            if (kept := self._kept(stream, mark)) is not None:
                yield kept

    def _kept(self, stream: str, mark: Mark) -> Statement | None:
        """Return the statement of the mark from the kept envelope; None if there is none, or another one."""
        path = self.site.kept_envelope(stream, mark.serial, mark.epoch, MarkKind.RECEIVED)
        if not exists(path, follow=False):
            return None
        try:
            envelope = Envelope.parse(read_owned(path, MAX_ENVELOPE_BYTES), str(path))
        except FormatError:
            return None
        if Digest.of(envelope.payload).hex != mark.statement_sha256:
            return None
        return Statement.parse(envelope.payload, str(path))


def needs(newer: Statement, older: Statement) -> bool:
    """Return whether the newer bundle leaves out content that the older one has."""
    return any(blob.digest.path in older.subjects for blob in newer.requires)
