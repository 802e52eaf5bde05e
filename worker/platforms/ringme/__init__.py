"""RingMe: JSON over HTTP, OAuth2, an hourly limit; its operations stand in the OpenAPI file."""

from __future__ import annotations

from dataclasses import replace

from worker.messages.rest.operations import Table
from worker.platforms.port import Memory
from worker.platforms.rest import open_transport, table
from worker.platforms.ringme.adapter import RingmePlatform
from worker.platforms.ringme.answers import answers
from worker.platforms.ringme.client import RingmeClient
from worker.platforms.ringme.oauth import Application, OAuth
from worker.platforms.ringme.pace import HourlyPace
from worker.settings.ringme import RingmeSettings

__all__ = ["RingmePlatform", "build"]


async def build(name: str, settings: RingmeSettings, memory: Memory) -> RingmePlatform:
    """Raises ValueError where the settings ask for what is not there. Nothing is sent."""
    try:
        said, operations = answers(settings.refusals), respelled(table("ringme"), settings)
    except ValueError as error:
        raise ValueError(f"platforms.{name}: {error}") from None
    transport = open_transport(settings)
    client = RingmeClient(
        settings.url.rstrip("/") + settings.api_path.rstrip("/"),
        transport,
        said,
        login=OAuth(transport, application(settings), settings.token_life),
        pace=HourlyPace(settings.limit_reserve, settings.limit_slow),
    )
    return RingmePlatform(name, settings, client, operations, memory)


def application(settings: RingmeSettings) -> Application:
    form = {
        "grant_type": settings.grant,
        "client_id": settings.app_id,
        "client_secret": settings.app_secret.get_secret_value(),
    }
    if settings.grant == "password":
        assert settings.password is not None
        form |= {"username": settings.username, "password": settings.password.get_secret_value()}
    return Application(settings.url.rstrip("/") + settings.token_path, form)


def respelled(operations: Table, settings: RingmeSettings) -> Table:
    """With the paths of the settings. Raises ValueError for an operation or a place that there is none of."""
    found = dict(operations)
    for name, path in settings.paths.items():
        type_ = f"ringme.{name}.v1"
        if type_ not in found:
            known = ", ".join(sorted(each.endpoint for each in operations.values()))
            raise ValueError(f"paths: there is no operation {name!r}: we know {known}")
        if places(path) != places(found[type_].path):
            needed = ", ".join(sorted(places(found[type_].path))) or "none"
            raise ValueError(f"paths: {name} needs the places {needed} in its path, each in braces")
        found[type_] = replace(found[type_], path=path)
    return found


def places(path: str) -> set[str]:
    return {part.partition("}")[0] for part in path.split("{")[1:]}
