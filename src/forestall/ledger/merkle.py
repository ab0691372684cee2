"""The Merkle tree of RFC 6962 (section 2.1): hashing, appending, and both kinds of proof.

A tree of n leaves is never built whole. Appending needs its *frontier* (the roots of its maximal perfect subtrees, at
most log2 n hashes); proving needs single nodes, asked for by ``node(level, index)``: the root of the perfect subtree
over leaves ``index * 2**level`` up to ``(index + 1) * 2**level``, with the leaf hashes themselves at level 0. All
hashes are SHA-256 digests: 32 bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

HASH_BYTES = 32

EMPTY_ROOT = hashlib.sha256().digest()
"""Root of the tree without leaves."""

NodeAt = Callable[[int, int], bytes]
"""``node(level, index)``: the hash of a perfect subtree that the log has completed."""


def leaf_hash(data: bytes) -> bytes:
    """Hash of a leaf. The prefix keeps leaves and inner nodes apart, so that neither can pass for the other."""
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Hash of an inner node."""
    return hashlib.sha256(b"\x01" + left + right).digest()


@dataclass(frozen=True, slots=True)
class Node:
    """A perfect subtree that an append completed."""

    level: int
    index: int
    hash: bytes


@dataclass(frozen=True, slots=True)
class Frontier:
    """All that is needed to append to a log and to know its root."""

    size: int
    """Leaves in the log."""
    peaks: tuple[bytes, ...]
    """Roots of the maximal perfect subtrees, largest first: one for each 1 in the binary form of ``size``."""

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.peaks) != self.size.bit_count():
            raise ValueError(f"a log of {self.size} leaves has no frontier of {len(self.peaks)} hashes")

    @classmethod
    def from_bytes(cls, *, size: int, data: bytes) -> Frontier:
        """The frontier that ``to_bytes`` wrote; ValueError when its length does not belong to ``size``."""
        if len(data) % HASH_BYTES:
            raise ValueError(f"a frontier of {len(data)} bytes: not a whole number of hashes")
        return cls(size=size, peaks=tuple(data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)))

    def to_bytes(self) -> bytes:
        """The peaks, one after the other."""
        return b"".join(self.peaks)

    def append(self, leaf: bytes) -> tuple[Frontier, list[Node]]:
        """The frontier after ``leaf`` (a leaf hash), and the nodes this completes: the leaf itself first."""
        done = [Node(level=0, index=self.size, hash=leaf)]
        peaks = list(self.peaks)
        while done[-1].index & 1:
            below = done[-1]
            done.append(Node(level=below.level + 1, index=below.index >> 1, hash=node_hash(peaks.pop(), below.hash)))
        return Frontier(size=self.size + 1, peaks=(*peaks, done[-1].hash)), done

    def root(self) -> bytes:
        """Merkle tree hash of the whole log."""
        return _fold(self.peaks) if self.peaks else EMPTY_ROOT


EMPTY = Frontier(size=0, peaks=())


def root_of(leaves: Sequence[bytes]) -> bytes:
    """Merkle tree hash of these leaf hashes."""
    frontier = EMPTY
    for leaf in leaves:
        frontier, _ = frontier.append(leaf)
    return frontier.root()


def inclusion_proof(*, index: int, size: int, node: NodeAt) -> list[bytes]:
    """The audit path (RFC 6962, 2.1.1) of leaf ``index`` in the log's first ``size`` leaves, from the leaf upwards.

    ValueError when there is no such leaf.
    """
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not among the first {size}")
    path: list[bytes] = []
    begin, end = 0, size
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            path.append(_subtree(begin=middle, end=end, node=node))
            end = middle
        else:
            path.append(_subtree(begin=begin, end=middle, node=node))
            begin = middle
    path.reverse()
    return path


def inclusion_holds(*, leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> bool:
    """Whether ``proof`` shows the leaf hash ``leaf`` at ``index`` of the tree of ``size`` leaves with this root.

    The algorithm of RFC 9162, 2.1.3.2 (the same tree, with verification written out).
    """
    if not 0 <= index < size or not _all_hashes(proof):
        return False
    place, last, here = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            return False
        if place & 1 or place == last:
            here = node_hash(sibling, here)
            # On the right edge a subtree that is not full rises unpaired until it is somebody's right child.
            while not place & 1 and place:
                place >>= 1
                last >>= 1
        else:
            here = node_hash(here, sibling)
        place >>= 1
        last >>= 1
    return last == 0 and here == root


def consistency_proof(*, old_size: int, new_size: int, node: NodeAt) -> list[bytes]:
    """The proof (RFC 6962, 2.1.2) that the log of ``new_size`` leaves begins with the one of ``old_size``.

    Empty from nothing and from itself. ValueError when the log would have to shrink.
    """
    if not 0 <= old_size <= new_size:
        raise ValueError(f"a log does not go from {old_size} to {new_size} leaves")
    if old_size in (0, new_size):
        return []
    path: list[bytes] = []
    begin, end = 0, new_size
    # Descend to the subtree that ends where the old log ended, noting the sibling passed at each step.
    while end != old_size:
        middle = begin + _split(end - begin)
        if old_size <= middle:
            path.append(_subtree(begin=middle, end=end, node=node))
            end = middle
        else:
            path.append(_subtree(begin=begin, end=middle, node=node))
            begin = middle
    if begin:
        # Otherwise that subtree is the old log itself, whose root the verifier holds.
        path.append(_subtree(begin=begin, end=end, node=node))
    path.reverse()
    return path


def consistency_holds(
    *, old_size: int, old_root: bytes, new_size: int, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Whether ``proof`` shows that the new log only adds to the old one (the algorithm of RFC 9162, 2.1.4.2)."""
    if not 0 <= old_size <= new_size or not _all_hashes(proof):
        return False
    if old_size == 0:
        return not proof and old_root == EMPTY_ROOT and (new_size > 0 or new_root == EMPTY_ROOT)
    if old_size == new_size:
        return not proof and old_root == new_root
    hashes = list(proof)
    if old_size & (old_size - 1) == 0:
        hashes.insert(0, old_root)
    if not hashes:
        return False
    place, last = old_size - 1, new_size - 1
    while place & 1:
        place >>= 1
        last >>= 1
    old = new = hashes[0]
    for sibling in hashes[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            old = node_hash(sibling, old)
            new = node_hash(sibling, new)
            while not place & 1 and place:
                place >>= 1
                last >>= 1
        else:
            new = node_hash(new, sibling)
        place >>= 1
        last >>= 1
    return last == 0 and old == old_root and new == new_root


def _split(size: int) -> int:
    """The largest power of two below ``size`` (at least 2): where RFC 6962 divides a tree."""
    return 1 << ((size - 1).bit_length() - 1)


def _subtree(*, begin: int, end: int, node: NodeAt) -> bytes:
    """Hash of the tree over leaves ``begin`` to ``end``, a range that RFC 6962's division makes."""
    peaks: list[bytes] = []
    at = begin
    while at < end:
        level = (end - at).bit_length() - 1
        peaks.append(node(level, at >> level))
        at += 1 << level
    return _fold(peaks)


def _fold(peaks: Sequence[bytes]) -> bytes:
    """One root from perfect subtrees, largest first."""
    root = peaks[-1]
    for peak in reversed(peaks[:-1]):
        root = node_hash(peak, root)
    return root


def _all_hashes(proof: Sequence[bytes]) -> bool:
    # Concatenating pieces of other lengths would let one byte string be read as two different pairs.
    return all(len(piece) == HASH_BYTES for piece in proof)
