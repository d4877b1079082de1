"""What storage tests measure with: a guest that counts, a writer that remembers, a verifier that judges."""
