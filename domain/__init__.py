"""The vocabulary: pure values and pure decisions; no input or output, no Temporal, no clock."""
