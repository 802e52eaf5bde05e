"""`worker simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from worker.cli.context import USAGE, Fault, reason


def mount(app: typer.Typer) -> None:
    group = typer.Typer(
        help="Stateful stand-ins for platforms, with faults on request.", no_args_is_help=True
    )
    group.callback()(lambda: None)
    group.command()(sippulse)
    app.add_typer(group, name="simulate")


def sippulse(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where it listens; 0: any free port.")],
    host: Annotated[str, typer.Option(help="Address it listens on.")] = "127.0.0.1",
    config: Annotated[
        Path | None,
        typer.Option(help="A .toml or .json file: login, subscribers, faults, …", show_default=False),
    ] = None,
) -> None:
    """A SIPPulse with SOAP services under /SipPulse and an admin page under /admin/.

    Login and password are admin and admin unless the file says otherwise.
    """
    from worker.simulators.sippulse import SimulatorConfig, run

    try:
        chosen = SimulatorConfig.from_file(config) if config else None
    except OSError as error:
        raise Fault(f"{config} cannot be read ({error.strerror})", USAGE) from None
    except (ValueError, TypeError) as error:
        raise Fault(f"{config}: {error}", USAGE) from None
    try:
        run(port, host, config=chosen)
    except OSError as error:
        raise Fault(f"it cannot listen on {host}:{port} ({reason(error)})", USAGE) from None
