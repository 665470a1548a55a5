"""The Merkle tree hash of RFC 6962, §2.1, computed leaf by leaf."""

import hashlib


class MerkleTree:
    """Takes leaves in their order, and computes the root. It keeps O(log n) hashes, and no leaves."""

    def __init__(self) -> None:
        self.size = 0
        self._peaks: list[bytes] = []
        """Roots of the perfect subtrees, largest first: one for each bit that is set in `size`."""

    def add(self, leaf: bytes) -> None:
        """Append one leaf."""
        node = hashlib.sha256(b"\x00" + leaf).digest()
        size = self.size
        while size & 1:
            node = _join(self._peaks.pop(), node)
            size >>= 1
        self._peaks.append(node)
        self.size += 1

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
