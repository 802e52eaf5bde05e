"""Every setting of the worker: one frozen object, read once from `worker.toml` and the environment."""

from worker.settings.load import SettingsError, load
from worker.settings.model import (
    BrokerSettings,
    CallRecordSettings,
    ConsoleSettings,
    EventSettings,
    IntakeSettings,
    JournalSettings,
    LimitSettings,
    LogSettings,
    PlatformSettings,
    QuarantineSettings,
    Settings,
    WorkerSettings,
)
from worker.settings.values import Secret, duration

__all__ = [
    "BrokerSettings",
    "CallRecordSettings",
    "ConsoleSettings",
    "EventSettings",
    "IntakeSettings",
    "JournalSettings",
    "LimitSettings",
    "LogSettings",
    "PlatformSettings",
    "QuarantineSettings",
    "Secret",
    "Settings",
    "SettingsError",
    "WorkerSettings",
    "duration",
    "load",
]
