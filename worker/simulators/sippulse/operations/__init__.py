"""The platform's operations, one function each, a file for each service."""

from . import (
    accountgroup,
    address,
    customer,
    dialplan,
    did,
    domain,
    huntgroup,
    location,
    profile,
    rate,
    rateplan,
    reload,
    reseller,
    subscriber_credit,
    subscriber_flags,
    subscriber_quota,
    subscriber_record,
    subscriber_secrets,
    whitelist,
)
from .registry import OPERATIONS, Operation, apply

# Imported for what they register.
SERVICES = (
    accountgroup,
    address,
    customer,
    dialplan,
    did,
    domain,
    huntgroup,
    location,
    profile,
    rate,
    rateplan,
    reload,
    reseller,
    subscriber_credit,
    subscriber_flags,
    subscriber_quota,
    subscriber_record,
    subscriber_secrets,
    whitelist,
)

__all__ = ["OPERATIONS", "Operation", "apply"]
