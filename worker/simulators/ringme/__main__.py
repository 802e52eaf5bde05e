"""`python -m worker.simulators.ringme --port 8083 [--config simulator.toml]`."""

import argparse
from pathlib import Path

from . import SimulatorConfig, run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m worker.simulators.ringme", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--config", type=Path, help="a .toml or .json file")
    given = parser.parse_args()
    run(given.port, given.host, config=SimulatorConfig.from_file(given.config) if given.config else None)


if __name__ == "__main__":
    main()
