"""Wishes of a storm's subscribers beyond money, calls and coming and going: changes, passwords, numbers, and a few
commands of the platform's own, one of each effect.

Each function makes type and data of one command; what is random comes from the author's chance.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from tests.support.storm import DOMAIN, PLATFORM

Wish = tuple[str, dict[str, Any]]
AMOUNTS = ("1.00", "2.50", "5.00", "10.00", "25.50", "100.00")  # calls cost less than the least of them
NATIVE = "sippulse.SubscriberWS"


@dataclass(slots=True)
class Life:
    """One subscriber, as far as it would be without faults. `number`: that it may be given, "" for none."""

    username: str
    queue: str
    there: bool
    portal: str = ""  # its portal password
    number: str = ""
    numbered: bool = False
    located: bool = False

    @property
    def name(self) -> dict[str, str]:
        return {"username": self.username, "domain": DOMAIN}

    @property
    def contact(self) -> str:
        return f"sip:{self.username}@192.0.2.7:5060"


def portable(kind: str, life: Life, **data: Any) -> Wish:
    return f"{kind}.v1", {"platform": PLATFORM, "subscriber": life.name, **data}


def native(operation: str, life: Life, **data: Any) -> Wish:
    return f"sippulse.{operation}.v1", {"platform": PLATFORM, **life.name, **data}


def update(chance: Random, life: Life, secret: str) -> Wish:
    """One field by its own operation, several that are read, merged and written back, or both at once."""
    word = f"n{chance.randrange(10**6)}"
    forward = f"sip:{word}@{DOMAIN}"
    changes: tuple[dict[str, Any], ...] = (
        {"incoming_calls": chance.random() < 0.5},
        {"outgoing_calls": chance.random() < 0.5},
        {"low_credit_limit": chance.choice(("1.50", "5.00"))},
        {"profile": chance.choice(("residential", "business"))},
        {"portal_password": secret},
        {"email": f"{word}@{DOMAIN}", "call_limit": chance.randrange(1, 9)},
        {"first_name": word, "last_name": f"{word} da Silva"},
        {"phone": f"55119{chance.randrange(10**8):08}", "email": f"{word}@{DOMAIN}"},
        {"forwarding": {"busy": chance.choice((forward, "")), "no_answer": forward}},
        {"email": f"{word}@{DOMAIN}", "incoming_calls": chance.random() < 0.5},
        {"caller_id": word, "cps": chance.randrange(1, 9), "keep_alive": chance.randrange(1, 99)},
    )
    chosen = chance.choice(changes)
    life.portal = chosen.get("portal_password", life.portal)
    return portable("subscriber.update", life, changes=chosen)


def password(chance: Random, life: Life, secret: str) -> Wish:
    return portable("password.change", life, new_password=secret)


def forwarding(chance: Random, life: Life, secret: str) -> Wish:
    names = chance.sample(("always", "busy", "no_answer"), chance.choice((1, 2)))
    targets = ("", f"sip:{chance.randrange(10**6)}@{DOMAIN}")
    return portable("forwarding.set", life, **{name: chance.choice(targets) for name in names})


def number(chance: Random, life: Life, secret: str) -> Wish:
    """Given and taken away by turns; now and then what is not there to be given or taken."""
    if not life.number:
        return portable("number.list", life)
    if chance.random() < 0.9:
        life.numbered = not life.numbered
    if not life.numbered:
        return portable("number.release", life, number=life.number)
    fee = {"monthly_fee": "9.90"} if chance.random() < 0.5 else {}
    return portable("number.assign", life, number=life.number, **fee)


# Commands of the platform's own ------------------------------------------------------------------------


def switch(chance: Random, life: Life, secret: str) -> Wish:
    return native(f"SubscriberWS.{chance.choice(('blockSoftphone', 'activateSoftphone'))}", life)


def look(chance: Random, life: Life, secret: str) -> Wish:
    return native("SubscriberWS.retrieveSubscriber", life)


def voucher(chance: Random, life: Life, secret: str) -> Wish:
    return native("SubscriberWS.addCredit", life, value=chance.choice(AMOUNTS), obs="voucher")


def portal(chance: Random, life: Life, secret: str) -> Wish:
    """It names the old one: refused, where the storm has left another there than was ordered."""
    old, life.portal = life.portal, secret
    given = {"actualPassword": old, "newPassword": secret, "confirmNewPassword": secret}
    return native("SubscriberWS.changePasswordWEB", life, **given)


def location(chance: Random, life: Life, secret: str) -> Wish:
    if chance.random() < 0.9:
        life.located = not life.located
    act = "addUserLocation" if life.located else "removeUserLocation"
    return native(f"UserLocationWS.{act}", life, contact=life.contact)


# How often, beside the spine's own orders, whose weights add up to 76.
WISHES: dict[Callable[[Random, Life, str], Wish], float] = {
    update: 10,
    password: 3,
    forwarding: 2,
    number: 3,
    switch: 1.5,
    look: 0.5,
    voucher: 1.5,
    portal: 1,
    location: 1.5,
}
