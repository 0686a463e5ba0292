"""The embedded server by hand: ``python -m infra.temporal up|down|status [--state DIR] [--port N]``."""

import argparse
import os
import sys
from pathlib import Path

from domain.errors import DrError
from infra.temporal import server


def main() -> int:
    """Carry out one verb; 0 when the server is as asked for, 3 when ``status`` finds none, 1 on errors."""
    parser = argparse.ArgumentParser(prog="python -m infra.temporal")
    parser.add_argument("verb", choices=["up", "down", "status"])
    parser.add_argument("--state", type=Path, default=Path(os.environ.get("DR_STATE", ".dr")))
    parser.add_argument("--port", type=int, default=7233)
    chosen = parser.parse_args()
    settings = server.TemporalSettings(state=chosen.state, port=chosen.port)
    if chosen.verb == "down":
        ran = server.stop(settings)
        sys.stdout.write("stopped\n" if ran else "nothing ran\n")
        return 0
    try:
        endpoint = server.ensure_running(settings) if chosen.verb == "up" else server.status(settings)
    except DrError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    if endpoint is None:
        sys.stdout.write("not running\n")
        return 3
    sys.stdout.write(f"{endpoint.address}  {endpoint.ui}  temporal {endpoint.version}  pid {endpoint.pid}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
