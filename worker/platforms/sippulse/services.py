"""The WSDLs: bundled with the worker or the server's own, one zeep client a service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import zeep
from zeep.exceptions import Error as ZeepError

import worker
from worker.platforms.sippulse.soap import Garbage, Operation, parse

NAMESPACE = "http://service.ws.sippulse.voffice.com.br/"
SERVICES = ("SubscriberWS", "ReloadModulesWS", "DomainWS")
MOST_DOCUMENTS = 20  # a WSDL with the schemas it imports

Fetch = Callable[[str], Awaitable[bytes]]


class Unusable(Exception):
    """A WSDL that cannot be had or read. The text says which and why."""


class _Missing(Exception):
    def __init__(self, url: str) -> None:
        super().__init__(url)
        self.url = url


class _Documents:
    """What zeep asks for documents: it gets those already here, and never touches the network itself."""

    def __init__(self, found: Mapping[str, bytes]) -> None:
        self._found = found

    def load(self, url: str) -> bytes:
        if url not in self._found:
            raise _Missing(url)
        return self._found[url]


@dataclass(frozen=True, slots=True)
class Service:
    """One service as its WSDL describes it; `operations` by the lower-case name."""

    name: str
    source: str  # bundled, live, or why it is not live
    operations: Mapping[str, Operation]


class Services:
    """All loaded services, and how they compare with the bundled ones."""

    def __init__(self, loaded: Mapping[str, Service], bundled: Mapping[str, Service]) -> None:
        self._loaded, self._bundled = loaded, bundled

    def find(self, endpoint: str) -> Operation | None:
        """`Service.operation`, the operation in any case: as this server spells it, or None."""
        service, _, name = endpoint.partition(".")
        loaded = self._loaded.get(service)
        return loaded.operations.get(name.lower()) if loaded else None

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._loaded)

    @property
    def all_live(self) -> bool:
        return all(service.source == "live" for service in self._loaded.values())

    def instead(self, name: str, why: str) -> Service:
        return replace(self._loaded[name], source=f"not live: {why}")

    def with_loaded(self, loaded: Mapping[str, Service]) -> Services:
        return Services({**self._loaded, **loaded}, self._bundled)

    def facts(self) -> dict[str, Any]:
        """Per service: where its WSDL is from, and what it lacks, has besides, spells differently."""
        return {name: self._compared(service) for name, service in self._loaded.items()}

    def _compared(self, service: Service) -> dict[str, Any]:
        known = self._bundled[service.name].operations if service.name in self._bundled else {}
        return {
            "wsdl": service.source,
            "operations": sorted(each.name for each in service.operations.values()),
            "lacks": sorted(known[name].name for name in known.keys() - service.operations.keys()),
            "besides": sorted(
                service.operations[name].name for name in service.operations.keys() - known.keys()
            ),
            "spelled": {
                known[name].name: service.operations[name].name
                for name in sorted(known.keys() & service.operations.keys())
                if known[name].name != service.operations[name].name
            },
        }


def folder() -> Path:
    """Where the bundled WSDLs lie: inside the package (a wheel) or beside it (a checkout)."""
    package = Path(worker.__file__).parent
    for base in (package, package.parent):
        if (found := base / "contracts" / "platforms" / "sippulse").is_dir():
            return found
    raise Unusable(f"the WSDLs that come with the worker are missing beside {package}: install it again")


async def bundled(names: tuple[str, ...], namespace: str = "") -> dict[str, Service]:
    """Raises Unusable for a service that does not come along."""
    found = {}
    for name in names:
        file = folder() / f"{name}.wsdl"
        if not file.is_file():
            there = ", ".join(sorted(each.stem for each in folder().glob("*.wsdl")))
            raise Unusable(f"no WSDL of {name} comes with the worker: we have {there}")
        text = await asyncio.to_thread(file.read_bytes)
        if namespace:
            text = text.replace(NAMESPACE.encode(), namespace.encode())
        url = f"http://bundled.invalid/{name}.wsdl"  # an address, as zeep makes a path of all else
        found[name] = await _service(name, "bundled", {url: text}, url)
    return found


async def live(name: str, url: str, fetch: Fetch) -> Service:
    """The server's own WSDL from `<url>/<Service>?wsdl`, and the schemas it imports from the same server.

    Raises Unusable. `fetch` has its own deadline and bound of size, and raises Unusable as well.
    """
    first = f"{url}/{name}?wsdl"
    documents: dict[str, bytes] = {first: await fetch(first)}
    while True:
        try:
            return await _service(name, "live", documents, first)
        except _Missing as missing:
            if len(documents) >= MOST_DOCUMENTS:
                raise Unusable(f"the WSDL of {name} imports more than {MOST_DOCUMENTS} documents") from None
            documents[missing.url] = await fetch(_on_our_server(missing.url, url))


async def with_live(services: Services, url: str, fetch: Fetch) -> Services:
    """The server's own WSDLs instead of the bundled ones; where one cannot be had, the other stays and says so.

    Asked one by one, and no more after the first that fails: a server that is away costs one deadline.
    """
    found: dict[str, Service] = {}
    why = ""
    for name in services.names:
        try:
            if why:
                raise Unusable(why)
            found[name] = await live(name, url, fetch)
        except Unusable as error:
            why = str(error)
            found[name] = services.instead(name, why)
    return services.with_loaded(found)


def _on_our_server(wanted: str, url: str) -> str:
    """The document under the configured host: servers write their inner address into imports."""
    here, there = urlsplit(url), urlsplit(wanted)
    return urlunsplit((here.scheme, here.netloc, there.path, there.query, ""))


async def _service(name: str, source: str, documents: Mapping[str, bytes], first: str) -> Service:
    return await asyncio.to_thread(_load, name, source, documents, first)


def _load(name: str, source: str, documents: Mapping[str, bytes], first: str) -> Service:
    for text in documents.values():
        try:
            parse(text)
        except Garbage as error:
            raise Unusable(f"the WSDL of {name} cannot be read: {error}") from None
    connect: Any = zeep.Client  # zeep types little
    settings = zeep.Settings(strict=False, forbid_dtd=True, forbid_entities=True)
    try:
        client = connect(first, transport=_Documents(documents), settings=settings)
    except _Missing:
        raise
    except (ZeepError, ValueError, KeyError, AttributeError, TypeError, LookupError, OSError) as error:
        raise Unusable(f"the WSDL of {name} cannot be understood ({type(error).__name__})") from None
    operations = {
        each.lower(): Operation(name, each, bound)
        for binding in client.wsdl.bindings.values()
        for each, bound in binding.all().items()
    }
    if not operations:
        raise Unusable(f"the WSDL of {name} has no operations")
    return Service(name, source, operations)
