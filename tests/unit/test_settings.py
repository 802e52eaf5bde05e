"""Settings: read once, told in one sentence when wrong, and never printing a secret."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from worker.settings import PlatformSettings, Settings, SettingsError, load
from worker.settings.page import page

DOCS = Path(__file__).parents[2] / "docs" / "settings.md"

PLATFORM = """
[platforms.sippulse-br]
kind = "sippulse"
url = "http://127.0.0.1:8080/SipPulse"
login = "admin"
password = { env = "SIPPULSE_PASSWORD" }
"""
WHOLE = """
[worker]
source = "/provisioning-worker"
[broker]
url = "amqp://guest:guest@127.0.0.1:5672/"
[journal]
url = "sqlite:///worker.db"
keys = [{ file = "worker.key" }]
retention = "90d"
dedup_window = "400d"
max_waiting = 1000000
[console]
host = "127.0.0.1"
port = 8080
[platforms.sippulse-br]
kind = "sippulse"
url = "http://sippulse.example:8080/SipPulse"
login = "admin"
password = { env = "SIPPULSE_PASSWORD" }
wsdl = "bundled"
environment = "production"
concurrency = 16
rate = 50
timeout = 10
keepalive = 2
control_read = ""
settle = 120
retry_for = "24h"
credit_step = "0.01"
credit_evidence = "auto"
reload_after = []
allow = []
deny = []
[platforms.sippulse-br.limits]
credit_max = "500.00"
[platforms.sippulse-br.assume]
[platforms.sippulse-br.refusals]
[platforms.sippulse-br.call_records]
url = "mysql://reader@db.example/sippulse"
lag = 10
"""
PROVIDER = """
[console]
address = "https://console.example"
[console.oidc]
issuer = "https://login.example/realms/main/"
client_id = "console"
client_secret = "s3cret"
roles = { "noc" = "operator" }
"""
SECRET = {"SIPPULSE_PASSWORD": "s3cret-of-admin"}


def written(folder: Path, text: str) -> Path:
    file = folder / "worker.toml"
    file.write_text(text)
    return file


def test_without_a_file_everything_has_its_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    settings = load(None, {})
    assert settings.platforms == {}
    assert settings.worker.source == "/provisioning-worker"
    assert settings.sqlite_path == tmp_path / "worker.db"


def test_the_file_of_the_public_description_is_read(tmp_path):
    (tmp_path / "worker.key").write_text("key-in-a-file\n")
    settings = load(written(tmp_path, WHOLE), SECRET)
    platform = settings.platforms["sippulse-br"]
    assert platform.password.get_secret_value() == "s3cret-of-admin"
    assert settings.journal.keys[0].get_secret_value() == "key-in-a-file"
    assert settings.journal.dedup_window == 400 * 86400
    assert (platform.retry_for, platform.settle, platform.lease) == (86400, 120, 25)
    assert platform.limits.credit_max == Decimal("500.00")
    assert settings.kinds == {"sippulse-br": "sippulse"}


def test_defaults_are_those_of_the_public_description(tmp_path):
    (tmp_path / "worker.key").write_text("key-in-a-file\n")
    whole = load(written(tmp_path, WHOLE), SECRET)
    bare = load(written(tmp_path, PLATFORM), SECRET)
    same = {"url", "limits", "call_records"}
    assert whole.platforms["sippulse-br"].model_dump(exclude=same) == bare.platforms[
        "sippulse-br"
    ].model_dump(exclude=same)
    assert whole.journal.model_copy(update={"keys": ()}) == bare.journal
    assert (whole.console, whole.worker, whole.broker) == (bare.console, bare.worker, bare.broker)


def test_a_provider_of_sign_in_is_named_exactly_and_its_secret_is_not_shown(tmp_path):
    oidc = load(written(tmp_path, PROVIDER), {}).console.oidc
    assert oidc.issuer == "https://login.example/realms/main/"  # with its slash: it is compared
    assert (oidc.roles, oidc.default_role) == ({"noc": "operator"}, "refused")
    assert "s3cret" not in repr(oidc)
    roles = {"WORKER__CONSOLE__OIDC__ROLES": '{"noc": "admin"}'}
    assert load(written(tmp_path, PROVIDER), roles).console.oidc.roles == {"noc": "admin"}
    here = PROVIDER.replace("https://login.example", "http://127.0.0.1:7000")
    assert load(written(tmp_path, here), {}).console.oidc.issuer == "http://127.0.0.1:7000/realms/main/"


def test_the_environment_wins_over_the_file(tmp_path):
    more = {
        "WORKER__BROKER__URL": "amqp://u:p@broker/",
        "WORKER__PLATFORMS__SIPPULSE-BR__RATE": "7.5",
        "WORKER__PLATFORMS__SIPPULSE_BR__PASSWORD": "from-the-environment",
        "WORKER__PLATFORMS__SIPPULSE_BR__ALLOW": '["sippulse.*"]',
        "WORKER__PLATFORMS__SIPPULSE_BR__LIMITS__REMOVES_PER_HOUR": "3",
        "WORKER__JOURNAL__RETENTION": "5d",
        "WORKER_CONFIG": "/nowhere",
    }
    settings = load(written(tmp_path, PLATFORM), SECRET | more)
    platform = settings.platforms["sippulse-br"]
    assert settings.broker.url.get_secret_value() == "amqp://u:p@broker/"
    assert (platform.rate, platform.allow, platform.limits.removes_per_hour) == (7.5, ("sippulse.*",), 3)
    assert platform.password.get_secret_value() == "from-the-environment"
    assert settings.journal.retention == 5 * 86400


def test_what_is_assumed_of_a_platform_can_stand_in_the_environment(tmp_path):
    prefix = "WORKER__PLATFORMS__SIPPULSE_BR__ASSUME"
    one_by_one = {f"{prefix}__DUPLICATES": "refused", f"{prefix}__SOFTPHONEALLOWED": "true"}
    for variables in (one_by_one, {prefix: '{"duplicates": "refused", "softphoneAllowed": true}'}):
        assume = load(written(tmp_path, PLATFORM), SECRET | variables).platforms["sippulse-br"].assume
        assert (assume.duplicates, assume.new_subscriber) == ("refused", {"softphoneAllowed": True})


def test_what_is_assumed_unless_said_can_do_no_harm(tmp_path):
    """Where the default is wrong, a command is refused or left to a person; nothing is done twice or lost."""
    assume = load(written(tmp_path, PLATFORM), SECRET).platforms["sippulse-br"].assume
    assert (assume.duplicates, assume.left_out, assume.rounding) == ("doubled", "cleared", "exact")
    assert (assume.customer_password, assume.absent_is_undeclared_fault) == ("unknown", False)
    assert assume.new_subscriber == {}


def test_a_platform_may_come_from_the_environment_alone(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    prefix = "WORKER__PLATFORMS__SIPPULSE_BR__"
    keys = {"KIND": "sippulse", "URL": "http://h/SipPulse/", "LOGIN": "a", "PASSWORD": "x"}
    settings = load(None, {prefix + name: value for name, value in keys.items()})
    assert settings.platforms["sippulse-br"].url == "http://h/SipPulse"


def test_the_file_is_found_by_variable_and_in_the_folder(tmp_path, monkeypatch):
    file = written(tmp_path, '[worker]\nsource = "/there"\n')
    assert load(None, {"WORKER_CONFIG": str(file)}).worker.source == "/there"
    monkeypatch.chdir(tmp_path)
    assert load(None, {}).worker.source == "/there"


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("90d", 7776000), ("24h", 86400), ("15m", 900), ("30s", 30), ("200ms", 0.2), ("7", 7)],
)
def test_durations_are_words_or_seconds(tmp_path, text, seconds):
    settings = load(written(tmp_path, f'[events]\nretention = "{text}"\n'), {})
    assert settings.events.retention == pytest.approx(seconds)


def test_secrets_do_not_print(tmp_path):
    text = PLATFORM + (
        '[platforms.sippulse-br.call_records]\nurl = "mysql://r:s3cret-of-db@h/x"\n'
        '[broker]\nurl = "amqp://u:s3cret-of-broker@h/v"\n'
        '[journal]\nurl = "postgresql://u:s3cret-of-pg@h/d?password=s3cret"\nkeys = ["s3cret-key"]\n'
    )
    settings = load(written(tmp_path, text), SECRET)
    shown = f"{settings!r} {settings} {settings.model_dump_json()} {settings.broker.shown}"
    shown += settings.journal.shown
    assert "s3cret" not in shown
    assert settings.broker.shown == "amqp://u@h/v"
    assert settings.journal.shown == "postgresql://u@h/d"


def test_settings_cannot_be_changed_afterwards():
    settings = Settings()
    with pytest.raises(ValueError, match="frozen"):
        settings.worker.source = "/other"


WRONG = [
    ("[broker]\nuri = 'x'\n", "unknown key broker.uri (did you mean url?): we know ca, "),
    ("[brokr]\n", "unknown key brokr (did you mean broker?): we know broker, "),
    ("folder = '/'\n", "unknown key folder"),
    (PLATFORM + "timeot = 3\n", "unknown key platforms.sippulse-br.timeot (did you mean timeout?)"),
    (PLATFORM + "[platforms.sippulse-br.limits]\ncredit = 1\n", "limits.credit"),
    (
        PLATFORM + "[platforms.sippulse-br.assume]\nduplicate = 'refused'\n",
        "unknown key platforms.sippulse-br.assume.duplicate (did you mean duplicates?): we know absent_is_",
    ),
    (
        PLATFORM + "[platforms.sippulse-br.assume]\nduplicates = 'refuse'\n",
        "platforms.sippulse-br.assume.duplicates: Input should be 'doubled' or 'refused'",
    ),
    (
        PLATFORM + "[platforms.sippulse-br.assume]\npassword = 'x'\n",
        "unknown key platforms.sippulse-br.assume.password",
    ),
    (PLATFORM.replace("br]", "BR]"), "platforms.sippulse-BR: a platform's name is 1 to 40 of a-z, 0-9 and -"),
    (PLATFORM.replace("sippulse-br", "s" * 41), "a platform's name is 1 to 40"),
    (
        PLATFORM.replace('"sippulse"', '"asterisk"'),
        "platforms.sippulse-br: kind is missing or unknown: we know",
    ),
    (PLATFORM.replace('login = "admin"\n', ""), "platforms.sippulse-br.login is missing: the platform's adm"),
    (
        PLATFORM.replace("SIPPULSE_PASSWORD", "NO_SUCH"),
        "password: the environment variable NO_SUCH is not set",
    ),
    (
        PLATFORM.replace('env = "SIPPULSE_PASSWORD"', 'file = "no.such"'),
        "no.such cannot be read: No such file",
    ),
    (PLATFORM.replace('env = "SIP', 'environment = "SIP'), 'a secret is a text, { env = "NAME" } or { file'),
    (PLATFORM.replace("http://", "http://a:s3cret@"), "the address holds a password"),
    (PLATFORM.replace("http://", "ftp://"), "the address has to begin with http:// or https://"),
    (
        PLATFORM + "timeout = 26\n",
        "worker.grace (25s) has to cover the timeout of platforms.sippulse-br (26s)",
    ),
    (PLATFORM + "timeout = 0\n", "platforms.sippulse-br.timeout: Input should be greater than 0"),
    (PLATFORM + 'retry_for = "soon"\n', "retry_for: a duration is a number of seconds or a text like 90d"),
    (PLATFORM + "settle = true\n", "settle: a duration is"),
    (PLATFORM + "rate = nan\n", "rate: Input should be a finite number"),
    (PLATFORM + 'credit_evidence = "none"\n', 'it is "auto", "strict" or a SELECT'),
    (PLATFORM + 'credit_evidence = "SELECT 1 FROM c WHERE obs = :obs"\n', "needs call_records.url"),
    (PLATFORM + 'credit_evidence = "SELECT 1"\n', "it has to name the command"),
    (PLATFORM + 'credit_evidence = "SELECT 1 FROM c WHERE o = :note"\n', ":note is no parameter"),
    (PLATFORM + 'credit_evidence = "SELECT :obs; DELETE FROM c"\n', "without semicolon"),
    (PLATFORM + 'call_records.url = "mysql://reader@db.example"\n', "mysql://user:password@host:3306/name"),
    (PLATFORM + 'call_records.time_zone = "Brazil"\n', "it is no time zone"),
    (PLATFORM + '[platforms.sippulse-br.refusals]\n"(" = "busy"\n', "is no regular expression"),
    ("[broker]\nurl = 'http://u:s3cret@h'\n", "broker.url: the address has to begin with amqp://"),
    ("[broker]\nprefetch = 0\n", "broker.prefetch: Input should be greater than or equal to 1"),
    ("[logs]\nlevel = 'loud'\n", "logs.level"),
    ("[console.oidc]\nissuer = 'http://login.example'\n", "console.oidc.issuer: the issuer is an address"),
    ("[console.oidc]\nissuer = 'https://u:s3cret@login.example'\n", "without password and query"),
    ("[console.oidc]\nissuer = 'https://login.example'\n", "client_id is missing"),
    (PROVIDER.replace('"noc"', '"a"').replace("operator", "boss"), "console.oidc.roles.a: Input should be"),
    (PROVIDER + "scopes = ['profile']\n", "scopes has to hold openid"),
    (PROVIDER.replace('{ "noc" = "operator" }', "{}"), "roles is empty, so nobody could sign in"),
    (PROVIDER.replace("address", "#"), "oidc.issuer needs address"),
    ("[console]\nlocal_sign_in = false\n", "local_sign_in = false needs oidc.issuer"),
    ("[broker]\npassword = s3cret\n", "is not TOML"),
]


@pytest.mark.parametrize(("text", "sentence"), WRONG)
def test_a_mistake_stops_the_start_with_one_sentence_that_names_the_key(tmp_path, text, sentence):
    with pytest.raises(SettingsError) as caught:
        load(written(tmp_path, text), SECRET)
    assert sentence in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_variable_that_names_no_key_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SettingsError, match=r"unknown key broker\.uri"):
        load(None, {"WORKER__BROKER__URI": "x"})
    with pytest.raises(SettingsError, match="ALLOW is a list or table: write it as JSON"):
        load(None, {"WORKER__PLATFORMS__X__ALLOW": "a,b"})
    with pytest.raises(SettingsError, match="names no key"):
        load(None, {"WORKER__BROKER": "x", "WORKER__BROKER__URL": "amqp://h/"})


def test_a_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"absent\.toml cannot be read: No such file"):
        load(tmp_path / "absent.toml", {})


def test_the_page_of_settings_is_the_code():
    assert DOCS.read_text() == page(), "write it anew: python -m worker.settings > docs/settings.md"


def test_every_setting_has_a_meaning():
    for section in (Settings, PlatformSettings):
        for name, field in section.model_fields.items():
            models = getattr(field.annotation, "model_fields", {})
            for key, inner in models.items():
                assert inner.description, f"{name}.{key} has no description"
