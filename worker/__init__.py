"""An event-driven provisioning worker: idempotent, ordered commands for telecom platforms."""

__version__ = "0.1.0"
