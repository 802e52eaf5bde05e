"""A stateful SIPPulse: SOAP services, balances, calls that eat credit, and faults on request."""

from .config import SimulatorConfig, Switches
from .faults import KINDS, LOST, Rule
from .server import run, serve
from .simulator import Simulator
from .traffic import Traffic

__all__ = ["KINDS", "LOST", "Rule", "Simulator", "SimulatorConfig", "Switches", "Traffic", "run", "serve"]
