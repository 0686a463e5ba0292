"""Read by every interpreter whose path begins here: decorates the clients of the worker under test."""

import os
import sys

if sys.orig_argv[-2:] == ["-m", "worker"] and "FAULT_FOLDER" in os.environ:
    from pathlib import Path

    from tests.faults.harness.decorate import install
    from tests.faults.harness.plan import Folder

    roots = tuple(Path(part) for part in os.environ["FAULT_ROOTS"].split(":"))
    install(Folder(Path(os.environ["FAULT_FOLDER"])), roots)
