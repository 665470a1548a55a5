"""The Merkle tree hash of RFC 6962, §2.1, computed leaf by leaf."""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Self


@dataclass(slots=True)
class MerkleTree:
    """Takes leaves in their order, and computes the root. It keeps O(log n) hashes, and no leaves."""

    size: int = 0
    _peaks: list[bytes] = field(default_factory=list)
    """Roots of the perfect subtrees, largest first: one for each bit that is set in `size`."""

    @property
    def peaks(self) -> list[str]:
        """All that is kept of the leaves, in hex."""
        return [peak.hex() for peak in self._peaks]

    @classmethod
    def from_peaks(cls, leaves: int, peaks: Sequence[str]) -> Self:
        """Return the tree that had these peaks. Raises `ValueError` for another number of them, or for other
        texts; a wrong hash cannot be seen.

        Args:
            leaves: The number of leaves.
            peaks: The hashes, in hex.
        """
        if len(peaks) != leaves.bit_count() or any(
            len(peak) != hashlib.sha256().digest_size * 2 for peak in peaks
        ):
            raise ValueError("the peaks are not those of so many leaves")
        return cls(leaves, [bytes.fromhex(peak) for peak in peaks])

    def add(self, leaf: bytes) -> None:
        """Append one leaf."""
        node = hashlib.sha256(b"\x00" + leaf).digest()
        size = self.size
        while size & 1:
            node = _join(self._peaks.pop(), node)
            size >>= 1
        self._peaks.append(node)
        self.size += 1

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Append leaves. That is faster than one at a time, and needs memory for their hashes."""
        sha256 = hashlib.sha256
        nodes = [sha256(b"\x00" + leaf).digest() for leaf in leaves]
        size, self.size = self.size, self.size + len(nodes)
        peaks: list[bytes] = []
        while nodes:
            if size & 1:
                nodes.insert(0, self._peaks.pop())
            if len(nodes) & 1:
                peaks.append(nodes.pop())
            pairs = zip(nodes[::2], nodes[1::2], strict=True)
            nodes = [sha256(b"\x01" + left + right).digest() for left, right in pairs]
            size >>= 1
        self._peaks += reversed(peaks)

    def root(self) -> str:
        """Return the root over all leaves so far, in hex; without leaves, the SHA-256 of no bytes."""
        if not self._peaks:
            return hashlib.sha256().hexdigest()
        node = self._peaks[-1]
        for peak in reversed(self._peaks[:-1]):
            node = _join(peak, node)
        return node.hex()


def _join(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()
