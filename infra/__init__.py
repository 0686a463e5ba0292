"""The facts about a protected stack, the lab, and the embedded Temporal."""
