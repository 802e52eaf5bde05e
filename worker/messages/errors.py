"""The closed list of error codes, each with what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Code(StrEnum):
    """Why a command did not succeed. Public: other programs switch on these words."""

    INVALID_MESSAGE = "invalid_message"
    UNKNOWN_COMMAND = "unknown_command"
    UNKNOWN_PLATFORM = "unknown_platform"
    MISSING_FIELD = "missing_field"
    INVALID_FIELD = "invalid_field"
    TOO_LARGE = "too_large"
    TOO_OLD = "too_old"
    ID_CONFLICT = "id_conflict"
    IDEMPOTENCY_CONFLICT = "idempotency_conflict"
    NOT_ALLOWED = "not_allowed"
    OVER_LIMIT = "over_limit"
    UNKNOWN_DEPENDENCY = "unknown_dependency"
    DEPENDENCY_FAILED = "dependency_failed"
    EXPIRED = "expired"
    UNSUPPORTED = "unsupported"
    UNSUPPORTED_BY_SERVER = "unsupported_by_server"
    UNDOCUMENTED_DISABLED = "undocumented_disabled"
    NOT_FOUND = "not_found"
    ALREADY_EXISTS = "already_exists"
    EXISTS_DIFFERENT = "exists_different"
    CANNOT_UPDATE_SAFELY = "cannot_update_safely"
    PARTLY_DONE = "partly_done"
    CREDENTIALS_REFUSED = "credentials_refused"
    PLATFORM_REFUSED = "platform_refused"
    PLATFORM_ILL = "platform_ill"
    PLATFORM_UNREACHABLE = "platform_unreachable"
    GAVE_UP = "gave_up"
    EFFECT_UNKNOWN = "effect_unknown"
    KEY_MISSING = "key_missing"
    CANCELLED_BY_SENDER = "cancelled_by_sender"
    CANCELLED_BY_OPERATOR = "cancelled_by_operator"
    RESOLVED_BY_OPERATOR = "resolved_by_operator"


ADVICE: dict[Code, str] = {
    Code.INVALID_MESSAGE: "Send a CloudEvents 1.0 message as contracts/asyncapi.yaml describes, under a new id.",
    Code.UNKNOWN_COMMAND: "Use a command type listed in contracts/asyncapi.yaml.",
    Code.UNKNOWN_PLATFORM: "Use the name of a platform that the worker's settings configure.",
    Code.MISSING_FIELD: "Add the field and send the command again under a new id.",
    Code.INVALID_FIELD: "Correct the field and send the command again under a new id.",
    Code.TOO_LARGE: "Send less than intake.max_bytes in one message.",
    Code.TOO_OLD: "Make sure that the command has not run already, then send it under a new id and time.",
    Code.ID_CONFLICT: "An id names one message for ever: send other content under a new id.",
    Code.IDEMPOTENCY_CONFLICT: "The key belongs to another order that ran or runs: use a new idempotencykey.",
    Code.NOT_ALLOWED: "Ask for the command to be allowed in the platform's settings (allow, deny).",
    Code.OVER_LIMIT: "Stay below the platform's limits, or have them raised in its settings.",
    Code.UNKNOWN_DEPENDENCY: "Send the command that dependson names first; both need the same source.",
    Code.DEPENDENCY_FAILED: "Put the command it depends on right, then send this one again under a new id.",
    Code.EXPIRED: "Send it again with a later expirytime if it is still wanted.",
    Code.UNSUPPORTED: "Send a command that this kind of platform offers: contracts/asyncapi.yaml lists them.",
    Code.UNSUPPORTED_BY_SERVER: "This server's WSDL lacks the operation: see `worker platforms check`.",
    Code.UNDOCUMENTED_DISABLED: "The worker calls only what the platform's vendor documents: use another command.",
    Code.NOT_FOUND: "Check the name: nothing of that name was found.",
    Code.ALREADY_EXISTS: "If it is the one you mean, nothing is left to do; for subscriber.create, if_exists = adopt or update takes it.",
    Code.EXISTS_DIFFERENT: "The existing record differs in the fields named: update it, or order another name.",
    Code.CANNOT_UPDATE_SAFELY: "The platform hides a value that an update would overwrite: change it there by hand.",
    Code.PARTLY_DONE: "Some steps took effect: see steps, then put the rest right with single commands.",
    Code.CREDENTIALS_REFUSED: "Put the platform's login or password right; its commands wait meanwhile.",
    Code.PLATFORM_REFUSED: "The platform refused it: see message and platform_message, correct the order, send it anew.",
    Code.PLATFORM_ILL: "The platform answers with faults to everything: its commands wait until it is well.",
    Code.PLATFORM_UNREACHABLE: "Check network and platform; an operator may retry when it answers again.",
    Code.GAVE_UP: "It was tried for retry_for without success: an operator may retry or cancel it.",
    Code.EFFECT_UNKNOWN: "Look at the evidence and the platform, then `worker commands resolve`.",
    Code.KEY_MISSING: "Give the worker the encryption key that the command was stored with.",
    Code.CANCELLED_BY_SENDER: "Nothing to do: the sender cancelled it.",
    Code.CANCELLED_BY_OPERATOR: "An operator cancelled it; the reason stands in the message.",
    Code.RESOLVED_BY_OPERATOR: "An operator decided what took effect; the reason stands in the message.",
}


@dataclass(frozen=True, slots=True)
class Problem:
    """What was wrong, for people and programs: the `error` of a result event. `message` is the worker's sentence,
    `platform_message` what the platform itself said, where it said something.
    """

    code: Code
    message: str
    field: str | None = None
    platform_code: str | None = None
    platform_message: str | None = None

    def as_data(self) -> dict[str, Any]:
        data: dict[str, Any] = {"code": self.code.value, "message": self.message}
        for name in ("field", "platform_code", "platform_message"):
            if (value := getattr(self, name)) is not None:
                data[name] = value
        return data | {"advice": ADVICE[self.code]}


def problem_from(data: dict[str, Any]) -> Problem:
    """The inverse of `as_data`, for problems that were kept in the journal."""
    return Problem(
        Code(data["code"]),
        data["message"],
        data.get("field"),
        data.get("platform_code"),
        data.get("platform_message"),
    )
