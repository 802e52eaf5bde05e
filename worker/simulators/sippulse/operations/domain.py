"""DomainWS."""

from worker.simulators.sippulse.platform import Platform
from worker.simulators.sippulse.soap import Call, child

from .registry import reads


@reads
def listDomains(platform: Platform, call: Call) -> str:
    return "".join(
        f"<domain>{child('domain', name)}{child('name', name)}</domain>" for name in platform.domains
    )
