"""The verifier's self-test: copies are damaged, and the product's own checks have to find it."""
