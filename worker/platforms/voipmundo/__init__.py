"""VoIPMundo Telecom: JSON over HTTP, with the login in every address. See docs/voipmundo.md."""

from __future__ import annotations

from worker.platforms.port import Memory
from worker.platforms.rest import Answers, Refusals, open_transport, table
from worker.platforms.rest.platform import BESIDE_THE_CALLS, MARGIN_FOR_A_READ
from worker.platforms.voipmundo.adapter import VoipmundoPlatform
from worker.platforms.voipmundo.client import VoipmundoClient, declared, sound
from worker.platforms.voipmundo.contract import KIND, adjusted
from worker.platforms.voipmundo.pace import OneAtATime
from worker.settings import VoipmundoSettings

__all__ = ["VoipmundoPlatform", "build"]


async def build(name: str, settings: VoipmundoSettings, memory: Memory) -> VoipmundoPlatform:
    """Raises ValueError where the settings ask for what is not there. It remembers nothing."""
    try:
        refusals = Refusals(settings.refusals)
    except ValueError as error:
        raise ValueError(f"platforms.{name}: {error}") from None
    brief = min(settings.timeout, settings.lease_margin * MARGIN_FOR_A_READ)
    client = VoipmundoClient(
        settings.url,
        open_transport(settings),
        Answers(refusals, declared=declared, sound=sound),
        credentials={
            "api_token": settings.api_token.get_secret_value(),
            "api_key": settings.api_key.get_secret_value(),
        },
        # Until a 429 came it is the engine that keeps to `concurrency`.
        pace=OneAtATime(settings.concurrency + BESIDE_THE_CALLS, settings.recovery, brief),
        brief=brief,
    )
    try:
        return VoipmundoPlatform(name, settings, client, adjusted(table(KIND), settings))
    except ValueError:
        await client.close()
        raise
