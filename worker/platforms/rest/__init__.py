"""Platforms that speak JSON over HTTP and are described by an OpenAPI file: all that they share.

A kind of platform is a `RestPlatform` with its own login, pace, table of refusals and portable plans; see
docs/platforms.md.
"""

from worker.messages.rest.document import table
from worker.platforms.planning import Wrong, amount_of
from worker.platforms.refusals import Refusals
from worker.platforms.rest.answers import Answered, Answers, Declared, plain
from worker.platforms.rest.client import Client, FixedLogin, Heard, Login, NoLogin, NoPace, Pace
from worker.platforms.rest.looks import Looks
from worker.platforms.rest.platform import RestPlatform, open_transport
from worker.platforms.rest.steps import Plan, RestStep, step_of

__all__ = [
    "Answered",
    "Answers",
    "Client",
    "Declared",
    "FixedLogin",
    "Heard",
    "Login",
    "Looks",
    "NoLogin",
    "NoPace",
    "Pace",
    "Plan",
    "Refusals",
    "RestPlatform",
    "RestStep",
    "Wrong",
    "amount_of",
    "open_transport",
    "plain",
    "step_of",
    "table",
]
