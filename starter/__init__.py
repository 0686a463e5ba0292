"""The operator's side: the ``dr`` command and links into the Web UI."""
