"""The WSDLs: bundled with the worker or the server's own, one zeep client a service.

What portable commands need is loaded at the start; the rest when it is first called, in a thread, for reading a
WSDL takes time. Of a bundled service that is not loaded yet the catalogue says what it offers.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import zeep

import worker
from worker.messages.sippulse.operations import OPERATIONS, SERVICES, Known, of_service
from worker.messages.sippulse.operations import Operation as Catalogued
from worker.platforms.sippulse.soap import Garbage, Operation, parse

NAMESPACE = "http://service.ws.sippulse.voffice.com.br/"
NEEDED = ("SubscriberWS", "ReloadModulesWS", "DomainWS")  # for portable commands
MOST_DOCUMENTS = 20  # a WSDL with the schemas it imports

Fetch = Callable[[str], Awaitable[bytes]]


class Unusable(Exception):
    """A WSDL that cannot be had or read. The text says which and why."""


class NotThere(Unusable):
    """The server says that it has no such document."""


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

    name: str  # as documented
    source: str  # bundled, live, or why there is nothing
    operations: Mapping[str, Operation]

    def find(self, name: str) -> Operation | None:
        """By the documented name, or by this server's spelling; in any case."""
        known = OPERATIONS.get(f"{self.name}.{name}")
        spelled = (*known.spelled, name) if known else (name,)
        return next(
            (self.operations[each.lower()] for each in spelled if each.lower() in self.operations), None
        )


class Services:
    """All services, loaded or not, and how they compare with what is documented."""

    def __init__(
        self,
        loaded: Mapping[str, Service],
        *,
        namespace: str = "",
        all_documented: bool = False,
        not_live: str = "",
    ) -> None:
        """`all_documented`: offer also what the one known server lacks. `not_live`: why the rest is bundled."""
        self._loaded = dict(loaded)
        self._namespace, self._all_documented, self._not_live = namespace, all_documented, not_live
        self._found: dict[str, Operation | None] = {}
        self._one = asyncio.Lock()

    def find(self, endpoint: str) -> Operation | None:
        """`Service.operation`, the operation in any case: as this server spells it. None: it lacks it, or its
        service is not loaded."""
        try:
            return self._found[endpoint]
        except KeyError:
            service, _, name = endpoint.partition(".")
            loaded = self._loaded.get(service)
            if loaded is None:
                return None
            return self._found.setdefault(endpoint, loaded.find(name))

    async def load(self, endpoint: str) -> Operation | None:
        """The same, its service loaded where it is not. Raises Unusable for an installation with a hole."""
        service = endpoint.partition(".")[0]
        if service in SERVICES and service not in self._loaded:
            async with self._one:
                if service not in self._loaded:
                    self._loaded[service] = await bundled(service, self._namespace, self._all_documented)
        return self.find(endpoint)

    def has(self, endpoint: str) -> bool:
        if endpoint.partition(".")[0] in self._loaded:
            return self.find(endpoint) is not None
        known = OPERATIONS.get(endpoint)
        return known is not None and _offered(known, self._all_documented)

    @property
    def all_live(self) -> bool:
        return not self._not_live

    @property
    def live(self) -> dict[str, Service]:
        """Those that were learned from the server, what it has not included."""
        return {name: each for name, each in self._loaded.items() if each.source != BUNDLED}

    def with_live(self, found: Mapping[str, Service], why: str) -> Services:
        """With what was learned from the server; the rest stays bundled, and `why` says for what reason."""
        return Services(
            {**self._loaded, **found},
            namespace=self._namespace,
            all_documented=self._all_documented,
            not_live=why,
        )

    def facts(self) -> dict[str, Any]:
        """Per service: where its WSDL is from, and what it lacks, has besides, spells differently."""
        return {name: self._compared(name) for name in SERVICES}

    def _compared(self, name: str) -> dict[str, Any]:
        known = of_service(name)
        loaded = self._loaded.get(name)
        if loaded is None:
            return self._unloaded(known)
        there = {each: found for each in known if (found := loaded.find(each.name)) is not None}
        ours = {found.name for found in there.values()}
        return {
            "wsdl": self._source(loaded.source),
            "operations": sorted(each.name for each in loaded.operations.values()),
            "lacks": sorted(
                [
                    *(each.name for each in known if each not in there),
                    *(part for each, found in there.items() for part in _lacking_parts(each, found)),
                ]
            ),
            "besides": sorted(each.name for each in loaded.operations.values() if each.name not in ours),
            "spelled": dict(
                sorted(pair for each, found in there.items() for pair in _spelled_parts(each, found))
            ),
        }

    def _unloaded(self, known: tuple[Catalogued, ...]) -> dict[str, Any]:
        """Of the bundled WSDL, which is made from the catalogue."""
        offered = [each for each in known if _offered(each, self._all_documented)]
        return {
            "wsdl": self._source(BUNDLED),
            "operations": sorted(each.spelled[0] for each in offered),
            "lacks": sorted(each.name for each in known if each not in offered),
            "besides": [],
            "spelled": {
                each.name: each.spelled[0]
                for each in sorted(offered, key=lambda each: each.name)
                if each.spelled[0] != each.name
            },
        }

    def _source(self, source: str) -> str:
        return f"not live: {self._not_live}" if source == BUNDLED and self._not_live else source


BUNDLED = "bundled"


def _lacking_parts(known: Catalogued, found: Operation) -> Iterator[str]:
    """Parameters, and fields of them, that this server's WSDL does not have in any spelling."""
    for field in known.parameters:
        inner = {each.name: None for each in field.fields} if not field.simple else None
        yield from (f"{known.name}.{part}" for part in found.lacks({field.name: inner}))


def _spelled_parts(known: Catalogued, found: Operation) -> Iterator[tuple[str, str]]:
    if found.name != known.name:
        yield known.name, found.name
    for field in known.parameters:
        spelled = found.spelling(field.name)
        if spelled not in (None, field.name):
            yield f"{known.name}.{field.name}", spelled or ""
        for each in () if field.simple else field.fields:
            inner = found.spelling(field.name, each.name)
            if inner not in (None, each.name):
                yield f"{known.name}.{field.name}.{each.name}", inner or ""


def _offered(known: Catalogued, all_documented: bool) -> bool:
    """By the bundled WSDL: the one running server that we know answers a fault to what it does not have."""
    return all_documented or known.known is not Known.ABSENT


def folder() -> Path:
    """Where the bundled WSDLs lie: inside the package (a wheel) or beside it (a checkout)."""
    package = Path(worker.__file__).parent
    for base in (package, package.parent):
        if (found := base / "contracts" / "platforms" / "sippulse").is_dir():
            return found
    raise Unusable(f"the WSDLs that come with the worker are missing beside {package}: install it again")


async def bundled(name: str, namespace: str = "", all_documented: bool = False) -> Service:
    """Raises Unusable for a service that does not come along."""
    spelled = SERVICES.get(name, (name,))[0]
    file = folder() / f"{spelled}.wsdl"
    if not file.is_file():
        there = ", ".join(sorted(each.stem for each in folder().glob("*.wsdl")))
        raise Unusable(f"no WSDL of {name} comes with the worker: we have {there}")
    text = await asyncio.to_thread(file.read_bytes)
    if namespace:
        text = text.replace(NAMESPACE.encode(), namespace.encode())
    url = f"http://bundled.invalid/{spelled}.wsdl"  # an address, as zeep makes a path of all else
    whole = await _service(name, spelled, BUNDLED, {url: text}, url)
    absent = {each.name.lower() for each in of_service(name) if not _offered(each, all_documented)}
    return Service(name, BUNDLED, {key: each for key, each in whole.operations.items() if key not in absent})


async def live(name: str, url: str, fetch: Fetch) -> Service:
    """The server's own WSDL from `<url>/<Service>?wsdl`, and the schemas it imports from the same server.

    Raises Unusable, and NotThere if the server has no such service in any spelling. `fetch` has its own deadline
    and bound of size, and raises the same.
    """
    *others, last = SERVICES.get(name, (name,))
    for spelled in others:
        try:
            return await _live(name, spelled, url, fetch)
        except NotThere:
            continue
    return await _live(name, last, url, fetch)


async def _live(name: str, spelled: str, url: str, fetch: Fetch) -> Service:
    first = f"{url}/{spelled}?wsdl"
    documents: dict[str, bytes] = {first: await fetch(first)}
    while True:
        try:
            return await _service(name, spelled, "live", documents, first)
        except _Missing as missing:
            if len(documents) >= MOST_DOCUMENTS:
                raise Unusable(f"the WSDL of {name} imports more than {MOST_DOCUMENTS} documents") from None
            try:
                documents[missing.url] = await fetch(_on_our_server(missing.url, url))
            except NotThere as error:
                raise Unusable(str(error)) from None


async def with_live(services: Services, url: str, fetch: Fetch) -> Services:
    """The server's own WSDLs instead of the bundled ones; where they cannot be had, the others stay and say so.

    Asked one by one, and no more after the first that fails: a server that is away costs one deadline. That it
    has no such service is believed only of one that has those which everybody needs.
    """
    found: dict[str, Service] = {}
    for name in dict.fromkeys((*NEEDED, *SERVICES)):
        if name in services.live:
            continue
        try:
            found[name] = await live(name, url, fetch)
        except NotThere as error:
            if name in NEEDED:
                return services.with_live(found, str(error))
            found[name] = Service(name, f"not on this server: {error}", {})
        except Unusable as error:
            return services.with_live(found, str(error))
    return services.with_live(found, "")


def _on_our_server(wanted: str, url: str) -> str:
    """The document under the configured host: servers write their inner address into imports."""
    here, there = urlsplit(url), urlsplit(wanted)
    return urlunsplit((here.scheme, here.netloc, there.path, there.query, ""))


async def _service(
    name: str, spelled: str, source: str, documents: Mapping[str, bytes], first: str
) -> Service:
    return await asyncio.to_thread(_load, name, spelled, source, documents, first)


def _load(name: str, spelled: str, source: str, documents: Mapping[str, bytes], first: str) -> Service:
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
    except Exception as error:  # zeep stumbles in many ways: an import of itself is a RecursionError
        raise Unusable(f"the WSDL of {name} cannot be understood ({type(error).__name__})") from None
    operations = {
        each.lower(): Operation(spelled, each, bound)
        for binding in client.wsdl.bindings.values()
        for each, bound in binding.all().items()
    }
    if not operations:
        raise Unusable(f"the WSDL of {name} has no operations")
    return Service(name, source, operations)
