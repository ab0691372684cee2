"""The tree against its definition: RFC 6962 says what the hashes are by recursion, the code computes them otherwise."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from forestall.ledger import merkle

# The definition, as plainly as the RFC writes it.


def naive_root(leaves: list[bytes]) -> bytes:
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = naive_split(len(leaves))
    return hashlib.sha256(b"\x01" + naive_root(leaves[:k]) + naive_root(leaves[k:])).digest()


def naive_split(n: int) -> int:
    k = 1
    while k * 2 < n:
        k *= 2
    return k


def naive_path(m: int, leaves: list[bytes]) -> list[bytes]:
    if len(leaves) == 1:
        return []
    k = naive_split(len(leaves))
    if m < k:
        return [*naive_path(m, leaves[:k]), naive_root(leaves[k:])]
    return [*naive_path(m - k, leaves[k:]), naive_root(leaves[:k])]


def naive_subproof(m: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    if m == len(leaves):
        return [] if whole else [naive_root(leaves)]
    k = naive_split(len(leaves))
    if m <= k:
        return [*naive_subproof(m, leaves[:k], whole), naive_root(leaves[k:])]
    return [*naive_subproof(m - k, leaves[k:], False), naive_root(leaves[:k])]


class Log:
    """A log in memory that keeps completed nodes, as the server's tables do."""

    def __init__(self, size: int = 0) -> None:
        self.frontier = merkle.EMPTY
        self.nodes: dict[tuple[int, int], bytes] = {}
        self.leaves: list[bytes] = []
        self.roots = [merkle.EMPTY_ROOT]
        for n in range(size):
            self.append(b"leaf %d" % n)

    def append(self, data: bytes) -> None:
        leaf = merkle.leaf_hash(data)
        self.leaves.append(leaf)
        self.frontier, done = self.frontier.append(leaf)
        for node in done:
            assert (node.level, node.index) not in self.nodes
            self.nodes[node.level, node.index] = node.hash
        self.roots.append(self.frontier.root())

    def node(self, level: int, index: int) -> bytes:
        return self.nodes[level, index]


SEVENTY = Log(70)


def test_published_numbers_of_the_rfc_hashing() -> None:
    """Root of nothing, of one empty leaf, and of the eight-leaf tree used by certificate-transparency's own tests."""
    assert merkle.EMPTY_ROOT.hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert merkle.leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    data = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
    leaves = [merkle.leaf_hash(bytes.fromhex(text)) for text in data]
    roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ]
    assert [merkle.root_of(leaves[: n + 1]).hex() for n in range(8)] == roots


def test_every_root_to_seventy_is_the_definitions() -> None:
    for size in range(71):
        assert SEVENTY.roots[size] == naive_root(SEVENTY.leaves[:size]) == merkle.root_of(SEVENTY.leaves[:size])


def test_every_inclusion_proof_to_seventy_is_the_definitions_and_holds() -> None:
    for size in range(1, 71):
        for index in range(size):
            proof = merkle.inclusion_proof(index=index, size=size, node=SEVENTY.node)
            assert proof == naive_path(index, SEVENTY.leaves[:size])
            leaf, root = SEVENTY.leaves[index], SEVENTY.roots[size]
            assert merkle.inclusion_holds(leaf=leaf, index=index, size=size, proof=proof, root=root)


def test_every_consistency_proof_to_seventy_is_the_definitions_and_holds() -> None:
    for new in range(71):
        for old in range(new + 1):
            proof = merkle.consistency_proof(old_size=old, new_size=new, node=SEVENTY.node)
            assert proof == (naive_subproof(old, SEVENTY.leaves[:new], True) if old else [])
            assert consistent(old, new, proof)


def consistent(old: int, new: int, proof: list[bytes], **other: bytes) -> bool:
    roots = {"old_root": SEVENTY.roots[old], "new_root": SEVENTY.roots[new], **other}
    return merkle.consistency_holds(old_size=old, new_size=new, proof=proof, **roots)


def test_an_inclusion_proof_shows_one_leaf_at_one_place_of_one_tree() -> None:
    """Every size to 24: any other leaf, index, size, root, and any shorter, longer or altered path is refused."""
    for size in range(1, 25):
        for index in range(size):
            proof = merkle.inclusion_proof(index=index, size=size, node=SEVENTY.node)
            claim = {"leaf": SEVENTY.leaves[index], "index": index, "size": size, "root": SEVENTY.roots[size]}
            assert not merkle.inclusion_holds(**{**claim, "leaf": SEVENTY.leaves[index + 1]}, proof=proof)
            assert not merkle.inclusion_holds(**{**claim, "root": SEVENTY.roots[size + 1]}, proof=proof)
            assert not merkle.inclusion_holds(**claim, proof=[*proof, SEVENTY.leaves[0]])
            assert not merkle.inclusion_holds(**claim, proof=[SEVENTY.leaves[69], *proof])
            for other in range(-1, size + 2):
                assert (other == index) == merkle.inclusion_holds(**{**claim, "index": other}, proof=proof)
            for at in range(len(proof)):
                assert not merkle.inclusion_holds(**claim, proof=proof[:at] + proof[at + 1 :])
                flipped = bytes([proof[at][0] ^ 1]) + proof[at][1:]
                assert not merkle.inclusion_holds(**claim, proof=[*proof[:at], flipped, *proof[at + 1 :]])
                cut = [*proof[:at], proof[at][:-1], *proof[at + 1 :]]
                assert not merkle.inclusion_holds(**claim, proof=cut)


def test_an_inclusion_proof_for_another_size_does_not_hold_for_this_root() -> None:
    """The size is part of the claim wherever it changes the way up; where it does not, the root decides."""
    for size in range(2, 40):
        proof = merkle.inclusion_proof(index=size - 1, size=size, node=SEVENTY.node)
        for other in range(size + 1, 41):
            assert not merkle.inclusion_holds(
                leaf=SEVENTY.leaves[size - 1], index=size - 1, size=other, proof=proof, root=SEVENTY.roots[other]
            )


def test_a_consistency_proof_shows_one_growth_only() -> None:
    for new in range(1, 25):
        for old in range(new + 1):
            proof = merkle.consistency_proof(old_size=old, new_size=new, node=SEVENTY.node)
            assert not consistent(old, new, proof, old_root=SEVENTY.roots[old + 1])
            # From nothing every log grows: there the new root is shown by nothing, and needs its own proof.
            assert (old == 0) == consistent(old, new, proof, new_root=SEVENTY.roots[new + 1])
            assert not consistent(old, new, [*proof, SEVENTY.leaves[0]])
            assert not consistent(old, new, [SEVENTY.leaves[69], *proof])
            for at in range(len(proof)):
                assert not consistent(old, new, proof[:at] + proof[at + 1 :])
                flipped = bytes([proof[at][0] ^ 1]) + proof[at][1:]
                assert not consistent(old, new, [*proof[:at], flipped, *proof[at + 1 :]])
                assert not consistent(old, new, [*proof[:at], proof[at] + b"x", *proof[at + 1 :]])


def test_a_log_never_shrinks() -> None:
    assert not consistent(5, 4, [])
    assert not merkle.consistency_holds(
        old_size=-1, old_root=merkle.EMPTY_ROOT, new_size=4, new_root=SEVENTY.roots[4], proof=[]
    )
    with pytest.raises(ValueError, match="from 5 to 4"):
        merkle.consistency_proof(old_size=5, new_size=4, node=SEVENTY.node)
    with pytest.raises(ValueError, match="from -1 to 4"):
        merkle.consistency_proof(old_size=-1, new_size=4, node=SEVENTY.node)


def test_nothing_grows_into_nothing_only_with_the_empty_root() -> None:
    assert consistent(0, 0, [])
    assert not consistent(0, 0, [], new_root=SEVENTY.roots[1])
    assert not consistent(3, 3, [], new_root=SEVENTY.roots[4])


def test_a_fork_has_no_consistency_proof() -> None:
    """The same log with leaf 3 rewritten: no honest proof from either branch leads to the other."""
    forked = Log(3)
    forked.append(b"rewritten")
    for n in range(4, 20):
        forked.append(b"leaf %d" % n)
    for old in range(4, 20):
        for new in range(old + 1, 20):
            for log in (SEVENTY, forked):
                proof = merkle.consistency_proof(old_size=old, new_size=new, node=log.node)
                assert not consistent(old, new, proof, new_root=forked.roots[new])


@pytest.mark.parametrize(("index", "size"), [(-1, 3), (3, 3), (0, 0)])
def test_a_leaf_that_is_not_there_has_no_proof(index: int, size: int) -> None:
    with pytest.raises(ValueError, match=f"leaf {index} is not among the first {size}"):
        merkle.inclusion_proof(index=index, size=size, node=SEVENTY.node)
    assert not merkle.inclusion_holds(leaf=SEVENTY.leaves[0], index=index, size=size, proof=[], root=SEVENTY.leaves[0])


def test_a_frontier_survives_storage_and_refuses_what_is_none() -> None:
    for size in range(71):
        frontier = Log(size).frontier
        assert merkle.Frontier.from_bytes(size=size, data=frontier.to_bytes()) == frontier
        with pytest.raises(ValueError, match="has no frontier"):
            merkle.Frontier.from_bytes(size=size, data=frontier.to_bytes() + bytes(32))
        with pytest.raises(ValueError, match="not a whole number"):
            merkle.Frontier.from_bytes(size=size, data=frontier.to_bytes() + b"x")
    with pytest.raises(ValueError, match="has no frontier"):
        merkle.Frontier(size=-1, peaks=(bytes(32),))


def test_a_leaf_can_not_pass_for_a_node() -> None:
    left, right = SEVENTY.leaves[0], SEVENTY.leaves[1]
    assert merkle.leaf_hash(left + right) != merkle.node_hash(left, right)


@settings(max_examples=40, deadline=None)
@given(st.integers(71, 3000), st.randoms(use_true_random=False))
def test_large_logs_follow_the_definition_too(size: int, chance: random.Random) -> None:
    log = Log(size)
    assert log.frontier.root() == naive_root(log.leaves)
    index = chance.randrange(size)
    proof = merkle.inclusion_proof(index=index, size=size, node=log.node)
    assert proof == naive_path(index, log.leaves)
    assert len(proof) <= size.bit_length()
    assert merkle.inclusion_holds(leaf=log.leaves[index], index=index, size=size, proof=proof, root=log.frontier.root())
    old = chance.randrange(1, size + 1)
    proof = merkle.consistency_proof(old_size=old, new_size=size, node=log.node)
    assert proof == naive_subproof(old, log.leaves, True)
    assert merkle.consistency_holds(
        old_size=old, old_root=log.roots[old], new_size=size, new_root=log.roots[size], proof=proof
    )


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 80),
    st.integers(0, 80),
    st.lists(st.sampled_from(SEVENTY.leaves + SEVENTY.roots), max_size=9),
)
def test_invented_proofs_never_hold_nor_crash(first: int, second: int, proof: list[bytes]) -> None:
    """Guessed paths of real hashes: only the true path may hold, whatever the sizes named."""
    if first < second <= 70 and proof != naive_path(first, SEVENTY.leaves[:second]):
        leaf, root = SEVENTY.leaves[first], SEVENTY.roots[second]
        assert not merkle.inclusion_holds(leaf=leaf, index=first, size=second, proof=proof, root=root)
    if first <= second <= 70 and first and proof != naive_subproof(first, SEVENTY.leaves[:second], True):
        assert not consistent(first, second, proof)
