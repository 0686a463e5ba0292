"""The hands: one module or folder per system touched, each safe to run twice."""
