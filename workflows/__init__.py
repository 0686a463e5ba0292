"""The runbooks: one scenario, one file, in the order a person would do it."""
