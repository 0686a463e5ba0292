"""The embedded Temporal server: started detached, kept on a file, set up the same way each time."""
