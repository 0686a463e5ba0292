"""The lab: a real Compose project shaped like the stacks that `dr` protects."""
