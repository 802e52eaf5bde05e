"""SIPPulse: SOAP over HTTP, typed by its WSDLs."""

from __future__ import annotations

import ssl

from worker.messages.sippulse.operations import OPERATIONS
from worker.platforms.planning import read_of
from worker.platforms.port import Memory
from worker.platforms.refusals import Refusals
from worker.platforms.sippulse.adapter import CONTROL_READ, SippulsePlatform
from worker.platforms.sippulse.client import Client, Principal
from worker.platforms.sippulse.services import NEEDED, Services, Unusable, bundled, with_live
from worker.platforms.transport import Transport
from worker.settings import SippulseSettings

__all__ = ["SippulsePlatform", "build", "connect"]

MAX_ANSWER = 4 * 1024 * 1024  # bytes
# Control reads must not wait behind calls that hang: places beside those of `concurrency`.
BESIDE_THE_CALLS = 4


async def build(name: str, settings: SippulseSettings, _memory: Memory | None = None) -> SippulsePlatform:
    """Raises ValueError where the settings ask for what is not there."""
    return SippulsePlatform(name, settings, await connect(name, settings))


async def connect(name: str, settings: SippulseSettings) -> Client:
    """Load the WSDLs and open the transport; `close()` gives it back. Raises ValueError as `build` does."""
    try:
        refusals = Refusals(settings.refusals)
        services = await _services(settings)
    except (ValueError, Unusable) as error:
        raise ValueError(f"platforms.{name}: {error}") from None
    password = settings.password.get_secret_value()
    transport = Transport(
        timeout=settings.timeout,
        keepalive=settings.keepalive,
        limit=settings.concurrency + BESIDE_THE_CALLS,
        max_answer=MAX_ANSWER,
        verify=_tls(settings),
        auth=(settings.login, password) if settings.http_basic else None,
    )
    client = Client(settings.url, Principal(settings.login, password), transport, services, refusals)
    if settings.wsdl == "live":
        client.services = await with_live(services, settings.url, client.fetch)
    return client


async def _services(settings: SippulseSettings) -> Services:
    control, given = read_of(settings.control_read or CONTROL_READ)
    everything = settings.assume.all_documented_operations
    loaded = {
        name: await bundled(name, settings.namespace, everything)
        for name in dict.fromkeys((*NEEDED, control.partition(".")[0]))
    }
    services = Services(loaded, namespace=settings.namespace, all_documented=everything)
    if services.find(control) is None:
        known = ", ".join(sorted(each.name for each in loaded[control.partition(".")[0]].operations.values()))
        raise Unusable(f"control_read = {control!r} is no operation: write Service.operation, of {known}")
    needed = OPERATIONS[control].parameters if control in OPERATIONS else ()
    if lacking := [each.name for each in needed if not each.optional and each.name not in given]:
        raise Unusable(
            f"control_read = {control!r} needs {' and '.join(lacking)}: write {control}?{lacking[0]}=…"
        )
    return services


def _tls(settings: SippulseSettings) -> ssl.SSLContext | None:
    if not settings.url.startswith("https://"):
        return None
    context = ssl.create_default_context(cafile=settings.ca)
    if not settings.verify:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
