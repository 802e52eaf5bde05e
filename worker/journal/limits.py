"""Limits of what a platform is made to do in a day or an hour (rule 7.4), counted only where they are set."""

from __future__ import annotations

from decimal import ROUND_UP, Decimal

from worker.journal.driver import Tx
from worker.journal.port import Claim, Quota

HOUR, DAY = 3600.0, 86400.0  # seconds
UNIT = Decimal("0.000001")  # money is counted in millionths of the platform's currency unit

# What another command used: until it has ended without an effect it may have one.
USED = (
    "SELECT COALESCE(SUM(quota_amount), 0) AS sum, COUNT(*) AS n FROM commands"
    " WHERE platform = $1 AND quota_kind = $2 AND quota_at > $3::float8 AND id <> $4"
    " AND (finished_at IS NULL OR effect <> 'none')"
)


async def reserve(tx: Tx, claim: Claim, quota: Quota) -> str | None:
    """Count this command from now on, or say which limit it would exceed. One at a time for each platform."""
    platform = claim.view.platform
    await tx.lock(f"limits:{platform}")
    over = await _removes(tx, claim, quota) if quota.kind == "remove" else await _credit(tx, claim, quota)
    if over is None:
        await tx.run(
            "UPDATE commands SET quota_kind = $3, quota_at = $4::float8, quota_amount = $5"
            " WHERE id = $1 AND fence = $2",
            claim.id,
            claim.fence,
            quota.kind,
            tx.now,
            units(quota.amount),
        )
    return over


async def _removes(tx: Tx, claim: Claim, quota: Quota) -> str | None:
    most = quota.removes_per_hour
    [used] = await tx.rows(USED, claim.view.platform, quota.kind, tx.now - HOUR, claim.id)
    if most is None or used["n"] < most:
        return None
    return f"{used['n']} subscribers were removed within an hour: limits.removes_per_hour is {most}"


async def _credit(tx: Tx, claim: Claim, quota: Quota) -> str | None:
    platform, amount = claim.view.platform, units(quota.amount)
    if (most := quota.platform_hour) is not None:
        [used] = await tx.rows(USED, platform, quota.kind, tx.now - HOUR, claim.id)
        if used["sum"] + amount > units(most):
            return _above("the platform", used["sum"], quota, f"limits.credit_per_hour is {most:f}")
    if (most := quota.subscriber_day) is not None:
        sql = f"{USED} AND partition_key = $5"
        [used] = await tx.rows(sql, platform, quota.kind, tx.now - DAY, claim.id, claim.view.partition_key)
        if used["sum"] + amount > units(most):
            return _above(
                "the subscriber", used["sum"], quota, f"limits.credit_per_subscriber_day is {most:f}"
            )
    return None


def _above(who: str, used: int, quota: Quota, limit: str) -> str:
    booked = (Decimal(int(used)) * UNIT).normalize()
    return f"{who} was given {booked:f} already, and {quota.amount:f} more would be too much: {limit}"


def units(amount: Decimal) -> int:
    return int((amount / UNIT).to_integral_value(ROUND_UP))
