"""How many examples, and whether they are the same each time.

`ci` (the default) tries the same bounded number of examples in every run. `HYPOTHESIS_PROFILE=long` tries twenty
times as many that nobody has seen yet, and prints how to repeat one that fails; `HYPOTHESIS_TIMES=7` makes it seven.
"""

from __future__ import annotations

import os

from hypothesis import HealthCheck, Phase, settings

TIMES = {"ci": 1, "long": 20}


def profile(examples: int, steps: int = 50) -> settings:
    """`examples` in the profile `ci`, each of at most `steps` steps where it is a machine."""
    name = os.environ.get("HYPOTHESIS_PROFILE", "ci")
    if name not in TIMES:
        raise ValueError(f"HYPOTHESIS_PROFILE cannot be {name!r}: we know {', '.join(TIMES)}")
    fixed = name == "ci"
    return settings(
        max_examples=examples * int(os.environ.get("HYPOTHESIS_TIMES", TIMES[name])),
        stateful_step_count=steps,
        deadline=None,
        derandomize=fixed,
        database=None,
        print_blob=not fixed,
        phases=[Phase.explicit, Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


def unshrunk(examples: int, steps: int = 50) -> settings:
    """For examples that take seconds each: one that fails is told as it was found."""
    return settings(profile(examples, steps), phases=[Phase.explicit, Phase.generate])
