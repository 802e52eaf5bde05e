"""Image and compose file keep what the worker needs of them. (No engine is there to run them.)"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from worker.settings import load
from worker.settings.values import seconds

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PLATFORM_TIMEOUT = 10.0
SECRETS = ("RABBITMQ_PASSWORD", "POSTGRES_PASSWORD", "JOURNAL_KEY", "SIPPULSE_PASSWORD")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return read


def instructions(name: str) -> list[str]:
    """All instructions of that name in the last stage, continued lines joined."""
    joined = re.sub(r"\\\n\s*", "", DOCKERFILE)
    last_stage = joined.rpartition("\nFROM ")[2]
    return re.findall(rf"^{name} (.+)$", last_stage, re.MULTILINE)


def test_the_image_does_not_run_as_root() -> None:
    assert instructions("USER") == ["10001:10001"]
    assert "groupadd --system --gid 10001 worker" in DOCKERFILE
    assert "useradd --system --uid 10001 --gid worker" in DOCKERFILE
    assert DOCKERFILE.index("USER 10001") < DOCKERFILE.index("ENTRYPOINT")


def test_linters_that_are_pinned_look_at_image_and_compose_file(tmp_path: Path) -> None:
    """And complain, where there is something: a linter that never does is none."""
    recipe = (ROOT / "Makefile").read_text().split("\nlint: ")[1].split("\n\n")[0]
    compose = ("--builtin-schema", "vendor.compose-spec")
    assert "bin/hadolint --no-color Dockerfile" in recipe
    assert f"bin/check-jsonschema {' '.join(compose)} docker-compose.yml" in recipe
    image, services = tmp_path / "Dockerfile", tmp_path / "docker-compose.yml"
    image.write_text(DOCKERFILE.replace("USER 10001:10001", "USER root"))
    assert "Last USER should not be root" in linted("hadolint", "--no-color", str(image))
    written = (ROOT / "docker-compose.yml").read_text()
    services.write_text(written.replace("stop_grace_period:", "stop_grace_time:"))
    assert "stop_grace_time" in linted("check-jsonschema", *compose, str(services))


def linted(program: str, *words: str) -> str:
    """What a linter says about a file that is wrong."""
    where = Path(sys.executable).with_name(program)
    done = subprocess.run([where, *words], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    return done.stdout


def test_the_image_says_how_it_is_without_needing_another_program() -> None:
    check = instructions("HEALTHCHECK")[0]
    words = json.loads(check[check.index("CMD ") + 4 :])
    assert words[:2] == ["python", "-c"]
    assert "http://127.0.0.1:8080/healthz" in words[2]
    compile(words[2], "HEALTHCHECK", "exec")


def test_a_stop_reaches_the_worker_and_not_a_shell() -> None:
    assert json.loads(instructions("ENTRYPOINT")[0]) == ["python", "-m", "worker"]
    assert json.loads(instructions("CMD")[0]) == ["run"]


def test_the_image_installs_only_what_the_lock_has_a_hash_for() -> None:
    assert "--require-hashes" in DOCKERFILE
    assert "--only-binary :all:" in DOCKERFILE
    assert not re.search(r"https?://(?!127\.0\.0\.1)", DOCKERFILE)


def test_everything_the_image_copies_is_sent_to_the_engine_and_no_key_is() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    sent = {line[1:] for line in lines if line.startswith("!")}
    copied = {words.split()[0] for words in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)}
    assert lines[1] == "*"
    assert copied == sent
    assert "**/*.key" in lines


def test_two_workers_run_and_get_the_time_to_finish_a_call(compose: dict[str, Any]) -> None:
    worker = compose["services"]["worker"]
    grace = seconds(worker["stop_grace_period"])
    assert worker["deploy"]["replicas"] == 2
    assert "ports" not in worker  # two containers cannot publish one port
    assert isinstance(grace, float)
    assert grace > PLATFORM_TIMEOUT + 10


def test_the_simulator_runs_only_when_asked_for(compose: dict[str, Any]) -> None:
    services = compose["services"]
    assert services["simulator"]["profiles"] == ["simulator"]
    assert [name for name, service in services.items() if "profiles" not in service] == [
        "rabbitmq",
        "postgres",
        "worker",
    ]


def test_workers_wait_until_broker_and_database_are_well(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for name, wanted in services["worker"]["depends_on"].items():
        assert wanted == {"condition": "service_healthy"}
        assert services[name]["healthcheck"]["test"][0] == "CMD"
        assert any(volume.startswith(f"{name}:") for volume in services[name]["volumes"])


def test_no_secret_stands_in_the_compose_file_and_a_missing_one_is_named(compose: dict[str, Any]) -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    example = (ROOT / "deploy" / "compose" / "env.example").read_text()
    for name in SECRETS:
        assert re.search(rf"\$\{{{name}:\?set {name} in \.env", text)
        assert f"\n{name}=\n" in f"\n{example}"


def test_only_the_loopback_interface_is_published(compose: dict[str, Any]) -> None:
    published = [port for service in compose["services"].values() for port in service.get("ports", ())]
    assert published
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_the_workers_settings_are_accepted(compose: dict[str, Any]) -> None:
    written = compose["services"]["worker"]["environment"]
    environ = {
        name: re.sub(r"\$\{(\w+)(?::-([^}]*)|[^}]*)\}", lambda found: found[2] or "secret", value)
        for name, value in written.items()
        if name != "WORKER_CONFIG"
    }
    settings = load(ROOT / "deploy" / "compose" / "worker.toml", environ)
    grace = seconds(compose["services"]["worker"]["stop_grace_period"])
    assert isinstance(grace, float)
    assert settings.worker.grace < grace
    assert settings.platforms["sippulse"].timeout == PLATFORM_TIMEOUT
    assert settings.platforms["sippulse"].url == "http://simulator:8090/SipPulse"
    assert settings.console.host == "0.0.0.0"
    assert settings.journal.url.get_secret_value().startswith(
        "postgresql://provisioning:secret@postgres:5432/"
    )
