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
    group.command()(voipmundo)
    group.command()(ringme)
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


def ringme(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where it listens; 0: any free port.")],
    host: Annotated[str, typer.Option(help="Address it listens on.")] = "127.0.0.1",
    config: Annotated[
        Path | None,
        typer.Option(
            help="A .toml or .json file: application, clients, limits, faults, …", show_default=False
        ),
    ] = None,
) -> None:
    """A RingMe: tokens at /oauth/token, the client API under /api/ver1.0, an admin page under /admin/.

    The application is app and app-secret, the client 12, unless the file says otherwise.
    """
    from worker.simulators.ringme import SimulatorConfig, run

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


def voipmundo(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Where it listens; 0: any free port.")],
    host: Annotated[str, typer.Option(help="Address it listens on.")] = "127.0.0.1",
    config: Annotated[
        Path | None,
        typer.Option(help="A .toml or .json file: token, key, clients, faults, …", show_default=False),
    ] = None,
) -> None:
    """A VoIPMundo with its API under /api and an admin page under /admin/.

    Unless the file says otherwise, the token is 11111111-2222-3333-4444-555555555555-1234 and the key
    66666666-7777-8888-9999-000000000000-5678.
    """
    from worker.simulators.voipmundo import SimulatorConfig, run

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
