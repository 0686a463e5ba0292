"""The report as people read it: one self-contained page, and the same in Markdown."""
