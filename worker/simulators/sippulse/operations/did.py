"""DidWS: public numbers of subscribers."""

from worker.simulators.sippulse.platform import Declared, Platform
from worker.simulators.sippulse.soap import Call, child

from .needs import add, drop, elements, needed, number, text, values
from .registry import changes, reads


@changes
def insertDid(platform: Platform, call: Call) -> str:
    did = needed(values(call, "did"), "accountCode", "aliasUsername", "username", "domain")
    if platform.switches.numbers == "listed" and did["aliasUsername"] not in available(platform):
        raise Declared("not_available", number=str(did["aliasUsername"]), domain=str(did["domain"]))
    return child("didId", add(platform, "dids", did, "aliasUsername")["id"])


@changes
def deleteDid(platform: Platform, call: Call) -> str:
    drop(platform, "dids", {"id": number(call, "didId")})
    return ""


@reads
def listByAcc(platform: Platform, call: Call) -> str:
    rows = platform.objects["dids"].find({"accountCode": text(call, "accountCode")})
    return elements(platform, "DidWS", "did", "did", rows)


@reads
def listAvailablesNumbers(platform: Platform, call: Call) -> str:
    text(call, "domain")
    return "".join(child("did", each) for each in available(platform))


def available(platform: Platform) -> list[str]:
    taken = {each["aliasUsername"] for each in platform.objects["dids"]}
    return [each for each in platform.numbers if each not in taken]
