"""Settings from the environment."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, fields
from pathlib import Path

import pytest

from parley.config import Settings, settings_table
from parley.errors import SetupError

SECRET = "s3cr3t-" * 5
ANON_KEY = "e30.eyJyb2xlIjoiYW5vbiJ9.sig"  # a token with the role `anon`


def test_an_empty_environment_gives_the_documented_defaults() -> None:
    settings = Settings.from_env({})

    assert settings == Settings()
    assert settings.database_url is None
    assert settings.data_dir == Path(".parley")
    assert settings.max_frame_bytes == 4 * 1024 * 1024
    assert settings.max_query_s == 0.25
    assert settings.request_retention_s == 30 * 24 * 3600


@pytest.mark.parametrize(
    ("variable", "value", "field", "expected"),
    [
        ("DATABASE_URL", "postgresql://u:p@h/d", "database_url", "postgresql://u:p@h/d"),
        ("PARLEY_DATA", "/srv/parley", "data_dir", Path("/srv/parley")),
        ("PARLEY_FUNCTIONS", "a.b, c,", "functions", ("a.b", "c")),
        ("SUPABASE_URL", "https://x.supabase.co/", "supabase_url", "https://x.supabase.co"),
        ("SUPABASE_JWT_SECRET", SECRET, "supabase_jwt_secret", SECRET),
        ("SUPABASE_ANON_KEY", "sb_publishable_x", "supabase_anon_key", "sb_publishable_x"),
        ("SUPABASE_ANON_KEY", ANON_KEY, "supabase_anon_key", ANON_KEY),
        ("PARLEY_SERVE_PAGE", "no", "serve_page", False),
        ("ALLOWED_ORIGINS", "https://A.org/,http://b:1", "allowed_origins", ("https://a.org", "http://b:1")),
        ("PARLEY_REDACT_ERRORS", "no", "redact_errors", False),
        ("PARLEY_REDACT_ERRORS", "TRUE", "redact_errors", True),
        ("LOG_FORMAT", "JSON", "log_format", "json"),
        ("PARLEY_MAX_ARGS_BYTES", "1", "max_args_bytes", 1),
        ("PARLEY_PING_INTERVAL_S", "0.5", "ping_interval_s", 0.5),
        ("PARLEY_MAX_CONNECTIONS", "  ", "max_connections", 5000),
    ],
)  # fmt: skip
def test_a_variable_is_read(variable: str, value: str, field: str, expected: object) -> None:
    assert getattr(Settings.from_env({variable: value}), field) == expected


@pytest.mark.parametrize(
    ("variable", "value", "expected"),
    [
        ("DATABASE_URL", "mysql://h", "postgresql://"),
        ("SUPABASE_URL", "x.supabase.co", "https://"),
        ("SUPABASE_JWT_SECRET", "x" * 31, "at least 32 bytes"),
        ("PARLEY_ADMIN_KEY", "short", "at least 32 bytes"),
        ("SUPABASE_ANON_KEY", "sb_secret_x", "not a secret one"),
        ("SUPABASE_ANON_KEY", "a.eyJyb2xlIjoic2VydmljZV9yb2xlIn0.c", "not a secret one"),
        ("ALLOWED_ORIGINS", "app.example.com", "origins such as"),
        ("ALLOWED_ORIGINS", "https://a/path", "origins such as"),
        ("PARLEY_REDACT_ERRORS", "maybe", "true or false"),
        ("LOG_FORMAT", "xml", "one of auto, console, json"),
        ("LOG_LEVEL", "loud", "one of debug"),
        ("PARLEY_MAX_ARGS_BYTES", "0", "at least 1"),
        ("PARLEY_MAX_ARGS_BYTES", "-1", "at least 1"),
        ("PARLEY_MAX_ARGS_BYTES", "1e3", "a whole number"),
        ("PARLEY_MAX_ARGS_BYTES", "٣", "a whole number"),
        ("PARLEY_MAX_ARGS_BYTES", "9" * 20, "a whole number"),
        ("PARLEY_PING_INTERVAL_S", "nan", "seconds above 0"),
        ("PARLEY_PING_INTERVAL_S", "inf", "seconds above 0"),
        ("PARLEY_PING_INTERVAL_S", "0", "seconds above 0"),
        ("PARLEY_PING_INTERVAL_S", "10s", "seconds above 0"),
    ],
)
def test_a_bad_value_is_refused_by_name_and_is_not_shown(
    variable: str, value: str, expected: str
) -> None:
    with pytest.raises(SetupError, match=f"^{variable} must be .*{expected}") as caught:
        Settings.from_env({variable: value})

    assert caught.value.__suppress_context__


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(SetupError, match="PARLEY_MAX_SILENT_CONNECTIONS_PER_ADDRESS"):
        Settings.from_env({"PARLEY_MAX_CONNECTIONS_PER_ADDRESS": "10"})


@pytest.mark.parametrize("seconds", ["30", "30.5", "3600"])
def test_pings_that_come_too_late_for_clients_are_refused(seconds: str) -> None:
    with pytest.raises(SetupError, match="PARLEY_PING_INTERVAL_S must be below 30"):
        Settings.from_env({"PARLEY_PING_INTERVAL_S": seconds})

    assert Settings.from_env({"PARLEY_PING_INTERVAL_S": "29.9"}).ping_interval_s == 29.9


def test_secrets_do_not_show_in_the_record() -> None:
    settings = Settings.from_env(
        {
            "DATABASE_URL": f"postgresql://u:{SECRET}@h/d",
            "SUPABASE_JWT_SECRET": SECRET,
            "PARLEY_ADMIN_KEY": SECRET,
        }
    )

    assert SECRET not in repr(settings)


def test_settings_do_not_change() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().max_args_bytes = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({}, False),
        ({"AUTH_AUDIENCE": "a"}, False),
        ({"SUPABASE_JWT_SECRET": SECRET}, True),
        ({"SUPABASE_URL": "https://x.supabase.co"}, True),
        ({"AUTH_ISSUER": "https://issuer"}, True),
    ],
)
def test_any_issuer_counts_as_configured_auth(environ: dict[str, str], expected: bool) -> None:
    assert Settings.from_env(environ).is_auth_configured is expected


@pytest.mark.parametrize(
    ("chosen", "is_development", "expected"),
    [(None, True, False), (None, False, True), (True, True, True), (False, False, False)],
)
def test_errors_are_hidden_from_clients_except_in_development_or_by_choice(
    chosen: bool | None, is_development: bool, expected: bool
) -> None:
    settings = Settings(redact_errors=chosen, is_development=is_development)

    assert settings.should_redact_errors is expected


def test_only_a_data_directory_that_nobody_chose_may_be_elsewhere() -> None:
    assert Settings().is_data_dir_default
    assert not Settings.from_env({"PARLEY_DATA": "/srv/parley"}).is_data_dir_default


def test_the_table_has_a_row_for_every_setting_with_its_unit_in_the_name() -> None:
    table = settings_table().splitlines()

    assert len(table) == 2 + len([each for each in fields(Settings) if each.metadata])
    assert "| `PARLEY_MAX_ARGS_BYTES` | 1048576 | Arguments of one call, as JSON. |" in table
    assert all(row.count("|") == 4 for row in table)


def test_every_variable_is_named_like_its_field() -> None:
    exceptions = {"PARLEY_DATA": "data_dir"}

    for each in fields(Settings):
        variable = each.metadata.get("variable", each.name)
        expected = exceptions.get(variable, variable.removeprefix("PARLEY_").lower())
        assert each.name == expected
