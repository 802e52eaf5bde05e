"""Every setting of the worker: one frozen object, read once from `worker.toml` and the environment."""

from worker.settings.assume import SippulseAssume
from worker.settings.load import SettingsError, load
from worker.settings.model import (
    BrokerSettings,
    ConsoleSettings,
    EventSettings,
    IntakeSettings,
    JournalSettings,
    LogSettings,
    QuarantineSettings,
    Settings,
    WorkerSettings,
)
from worker.settings.oidc import OidcSettings
from worker.settings.platforms import (
    CallRecordSettings,
    LimitSettings,
    PlatformSettings,
    SippulseSettings,
    VoipmundoSettings,
)
from worker.settings.ringme import RingmeSettings
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
    "OidcSettings",
    "PlatformSettings",
    "QuarantineSettings",
    "RingmeSettings",
    "Secret",
    "Settings",
    "SettingsError",
    "SippulseAssume",
    "SippulseSettings",
    "VoipmundoSettings",
    "WorkerSettings",
    "duration",
    "load",
]
