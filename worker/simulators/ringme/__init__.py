"""A stateful RingMe: clients, internal numbers, dial rules, calls, an hourly limit, and faults on request."""

from .config import SimulatorConfig, Switches
from .faults import Rule
from .server import run, serve
from .simulator import Simulator

__all__ = ["Rule", "Simulator", "SimulatorConfig", "Switches", "run", "serve"]
