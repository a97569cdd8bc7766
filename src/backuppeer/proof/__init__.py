"""Pure proofs: Merkle trees and signed statements, shared by owner, host and trust."""
