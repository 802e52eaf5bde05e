"""A stateful VoIPMundo: clients, lines, DIDs, balances, call records, and faults on request."""

from .config import SimulatorConfig, Switches
from .server import run, serve
from .simulator import Simulator

__all__ = ["Simulator", "SimulatorConfig", "Switches", "run", "serve"]
