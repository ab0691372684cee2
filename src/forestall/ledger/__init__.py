"""The evidence log's arithmetic and encodings: Merkle tree, leaves, bundle lines. No I/O."""
