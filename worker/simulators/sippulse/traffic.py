"""Calls that eat credit: a seeded generator charges random subscribers small amounts."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from random import Random
from typing import Any, Self

from .platform import Platform


@dataclass(frozen=True, slots=True)
class Traffic:
    """rate: calls a second, in all. prices: one is drawn for each call. seconds: how long, None for ever.

    overdraw: charge also what the balance cannot pay. Blocked subscribers make no calls.
    """

    rate: float
    prices: tuple[Decimal, ...] = (Decimal("0.05"), Decimal("0.12"), Decimal("0.30"))
    seed: int = 1
    seconds: float | None = None
    overdraw: bool = True

    @classmethod
    def from_values(cls, values: Mapping[str, Any]) -> Self:
        given = dict(values)
        if "prices" in given:
            given["prices"] = tuple(Decimal(str(price)) for price in given["prices"])
        try:
            return cls(**given)
        except TypeError as error:
            raise ValueError(
                "traffic takes rate, prices, seed, seconds, overdraw; rate is required"
            ) from error

    async def run(self, platform: Platform) -> None:
        random = Random(self.seed)  # noqa: S311 - repeatable calls, no secret
        loop = asyncio.get_running_loop()
        start, calls = loop.time(), 0
        while self.seconds is None or loop.time() - start < self.seconds:
            calls += 1
            # Against a fixed start: a slow machine catches up instead of drifting.
            await asyncio.sleep(max(0.0, start + calls / self.rate - loop.time()))
            self._call(platform, random)

    def _call(self, platform: Platform, random: Random) -> None:
        keys = platform.keys()
        if not keys:
            return
        key, price = random.choice(keys), random.choice(self.prices)
        subscriber = platform.get(*key)
        if subscriber is None or not subscriber.active or not subscriber.dto["activeOutgoingCalls"]:
            return
        if self.overdraw or subscriber.balance >= price:
            platform.charge(*key, price)
