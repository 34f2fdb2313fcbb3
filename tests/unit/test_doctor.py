"""What the doctor says of what it finds."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest

from parley import doctor
from parley.config import Settings
from parley.store.checkup import DatabaseFacts

HEALTHY = DatabaseFacts(
    major_version=18,
    is_standby=False,
    encoding="UTF8",
    synchronous_commit="on",
    prepared_transactions=0,
    max_connections=97,
    may_create=True,
    schema_version=1,
    newest_schema=1,
    forbidden=(),
    bad_triggers=(),
    exposed=(),
)


def said(facts: DatabaseFacts, settings: Settings | None = None) -> list[tuple[str, str]]:
    found = doctor.judge_database(facts, settings or Settings())
    return [(finding.level, finding.text) for finding in found if finding.level != "fine"]


def test_nothing_is_said_against_a_healthy_database() -> None:
    assert said(HEALTHY) == []


@pytest.mark.parametrize(
    ("change", "level", "words"),
    [
        ({"major_version": 14}, "problem", "needs 15 or newer"),
        ({"is_standby": True}, "problem", "primary"),
        ({"encoding": "SQL_ASCII"}, "problem", "ENCODING 'UTF8'"),
        ({"synchronous_commit": "off"}, "warning", "synchronous_commit is off"),
        ({"prepared_transactions": 1}, "warning", "pg_prepared_xacts"),
        ({"max_connections": 9}, "warning", "PARLEY_MAX_DATABASE_CONNECTIONS"),
        ({"forbidden": ("commit_batch",)}, "problem", "may not call commit_batch"),
        ({"schema_version": None}, "warning", "the next start makes it"),
        ({"schema_version": None, "may_create": False}, "problem", "parley migrate"),
        ({"schema_version": 2}, "problem", "upgrade Parley"),
        ({"newest_schema": 2}, "warning", "brings it to 2"),
        ({"bad_triggers": ("messages (insert)",)}, "problem", "messages (insert)"),
        ({"exposed": ("messages (anon)",)}, "problem", "messages (anon). Run `revoke all"),
    ],
)
def test_one_thing_wrong_gives_one_sentence(
    change: dict[str, object], level: str, words: str
) -> None:
    found = said(replace(HEALTHY, **change))

    assert [entry[0] for entry in found] == [level]
    assert words in found[0][1]


@pytest.mark.parametrize(
    ("settings", "host", "levels"),
    [
        (Settings(), "127.0.0.1", ["warning"]),
        (Settings(), "0.0.0.0", ["problem", "warning"]),
        (Settings(supabase_jwt_secret="x" * 32), "127.0.0.1", ["fine"]),
        (Settings(supabase_jwt_secret="x" * 32), "0.0.0.0", ["fine", "warning"]),
        (
            Settings(supabase_jwt_secret="x" * 32, allowed_origins=("https://a",)),
            "0.0.0.0",
            ["fine"],
        ),
        (Settings(auth_issuer="https://issuer.example"), "127.0.0.1", ["problem"]),
    ],
)
def test_authentication_is_judged_by_who_could_connect(
    settings: Settings, host: str, levels: list[str]
) -> None:
    assert [finding.level for finding in doctor.judge_auth(settings, host)] == levels


def test_a_port_is_free_until_somebody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        (taken,) = doctor.judge_port("127.0.0.1", port)
    (free,) = doctor.judge_port("127.0.0.1", port)

    assert (taken.level, free.level) == ("warning", "fine")
    assert str(port) in taken.text


@pytest.mark.parametrize(("mode", "level"), [(0o700, "fine"), (0o711, "fine"), (0o777, "warning")])
def test_a_data_directory_that_others_can_write_to_is_a_warning(
    tmp_path: Path, mode: int, level: str
) -> None:
    tmp_path.chmod(mode)

    (found,) = doctor.judge_data_dir(Settings(data_dir=tmp_path))

    assert found.level == level


def test_a_file_in_place_of_the_data_directory_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "data").touch()

    (found,) = doctor.judge_data_dir(Settings(data_dir=tmp_path / "data"))

    assert found.level == "problem"


def test_the_machine_has_a_python_and_a_postgres() -> None:
    found = list(doctor.judge_machine())

    assert [finding.level for finding in found] == ["fine", "fine"]
