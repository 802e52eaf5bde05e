"""CustomerWS: the subscriber signs in with a password of its own, and there is no administrator."""

from worker.simulators.sippulse.platform import Declared, Platform, Subscriber
from worker.simulators.sippulse.soap import Call, child

from .needs import subscriber_of, text
from .registry import changes, reads
from .subscriber_record import dto_of
from .subscriber_secrets import change_password


def _field(platform: Platform) -> str:
    """Which of the two passwords it is."""
    return "passwordPortal" if platform.switches.customer_password == "portal" else "password"


def _signed_in(platform: Platform, call: Call) -> Subscriber:
    subscriber = platform.get(*call.subject)
    if subscriber is None or subscriber.dto[_field(platform)] != text(call, "password"):
        raise Declared("wrong_customer")
    return subscriber


@reads
def authenticate(platform: Platform, call: Call) -> str:
    return dto_of(platform, _signed_in(platform, call))


@reads
def retrieveCustomerCredit(platform: Platform, call: Call) -> str:
    return child("return", _signed_in(platform, call).balance)


@changes
def changeCustomerPassword(platform: Platform, call: Call) -> str:
    subscriber_of(platform, call)
    return change_password(platform, call, _field(platform))
