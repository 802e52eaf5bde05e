"""The same job written plainly: FastStream takes a message, zeep calls, the result is published. No journal.

A lost answer, a restart or a duplicate does harm here; it is what the journal's cost is compared with.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import httpx
from faststream import AckPolicy, FastStream
from faststream.rabbit import Channel, ExchangeType, RabbitBroker, RabbitExchange, RabbitQueue
from zeep import AsyncClient
from zeep.proxy import AsyncServiceProxy
from zeep.transports import AsyncTransport

ROOT = Path(__file__).resolve().parents[2]
WSDL = ROOT / "contracts" / "platforms" / "sippulse" / "SubscriberWS.wsdl"
NAMESPACE = "http://service.ws.sippulse.voffice.com.br/"
PRINCIPAL = {"login": "admin", "password": "admin"}


def service(url: str) -> Any:
    transport = AsyncTransport(client=httpx.AsyncClient(timeout=10, limits=httpx.Limits(max_connections=32)))
    client = AsyncClient(str(WSDL), transport=transport)
    binding = client.wsdl.bindings[f"{{{NAMESPACE}}}SubscriberWSPortBinding"]
    return AsyncServiceProxy(client, binding, address=f"{url}/SubscriberWS")


async def carry_out(soap: Any, command: dict[str, Any]) -> dict[str, Any]:
    data = command["data"]
    name = data["subscriber"]
    if command["type"] == "calls.block.v1":
        await soap.blockOutgoingCalls(username=name["username"], domain=name["domain"], principal=PRINCIPAL)
        return {"kinds": ["outgoing"]}
    await soap.addCredit(
        username=name["username"],
        domain=name["domain"],
        value=float(data["amount"]),
        obs=command["id"],
        principal=PRINCIPAL,
    )
    return {"amount": data["amount"]}


async def main(broker_url: str, platform_url: str) -> None:
    broker = RabbitBroker(broker_url, logger=None)
    soap = service(platform_url)
    results = RabbitExchange("provisioning.results", type=ExchangeType.TOPIC, durable=True)
    exchange = RabbitExchange("provisioning.commands", type=ExchangeType.TOPIC, durable=True)
    queue = RabbitQueue("plain.commands", durable=True, routing_key="#", arguments={"x-queue-type": "quorum"})

    @broker.subscriber(
        queue, exchange, channel=Channel(prefetch_count=32), ack_policy=AckPolicy.NACK_ON_ERROR
    )
    async def handle(body: bytes) -> None:
        command = json.loads(body)
        output = await carry_out(soap, command)
        answer = {"status": "succeeded", "command": {"id": command["id"]}, "output": output}
        await broker.publish(
            json.dumps({"data": answer}).encode(),
            routing_key="plain.succeeded",
            exchange=results,
            persist=True,
        )

    print("ready", flush=True)
    await FastStream(broker, logger=None).run()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2]))
