"""SubscriberWS: passwords."""

from worker.simulators.sippulse.platform import Declared, Platform
from worker.simulators.sippulse.soap import Call, child

from .needs import found, put, secret, subscriber_of, text
from .registry import changes, reads


@changes
def changePassword(platform: Platform, call: Call) -> str:
    return change_password(platform, call, "password")


@changes
def changePasswordWEB(platform: Platform, call: Call) -> str:
    return change_password(platform, call, "passwordPortal")


def change_password(platform: Platform, call: Call, field: str) -> str:
    subscriber, new = subscriber_of(platform, call), text(call, "newPassword")
    if new != call.arguments.get("confirmNewPassword"):
        raise Declared("unconfirmed_password")
    if subscriber.dto[field] != call.arguments.get("actualPassword"):
        raise Declared("wrong_password")
    subscriber.dto[field] = new
    return ""


@reads
def retrievePassword(platform: Platform, call: Call) -> str:
    return _retrieve_password(platform, call, "password")


@reads
def retrievePasswordWEB(platform: Platform, call: Call) -> str:
    return _retrieve_password(platform, call, "passwordPortal")


def _retrieve_password(platform: Platform, call: Call, field: str) -> str:
    subscriber = found(platform, call)
    if subscriber is None:
        return ""
    return child("return", secret(platform, subscriber.dto[field], platform.switches.password_reads))


@changes
def activateVoicemail(platform: Platform, call: Call) -> str:
    put(platform, call, "voiceMailPassword", int(text(call, "voicemailPassword")))
    return put(platform, call, "voicemail", True)


@changes
def blockVoicemail(platform: Platform, call: Call) -> str:
    return put(platform, call, "voicemail", False)
