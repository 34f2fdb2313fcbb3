"""The command line, as far as no server has to run."""

from __future__ import annotations

import stat
from pathlib import Path

import jwt
import pytest
from typer.testing import CliRunner, Result

from parley import cli
from parley.errors import SetupError

SECRET = "a-secret-of-32-bytes-or-more-for-tests"


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("DATABASE_URL", "SUPABASE_URL", "SUPABASE_JWT_SECRET", "AUTH_ISSUER"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PARLEY_DATA", str(tmp_path / "data"))


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli.app, arguments)


def decode(token: str, secret: str) -> dict[str, object]:
    return jwt.decode(token, secret, algorithms=["HS256"], audience="authenticated")


def test_help_names_every_command() -> None:
    shown = run("--help").stdout

    for command in ("serve", "migrate", "token", "doctor", "psql", "bench"):
        assert command in shown


def test_a_token_is_like_supabase_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_JWT_SECRET", SECRET)
    monkeypatch.setenv("SUPABASE_URL", "https://x.supabase.co/")

    done = run("token", "--sub", "alice", "--email", "a@b.c", "--name", "Al", "--ttl-s", "60")

    claims = decode(done.stdout.strip(), SECRET)
    issued_at, expires_at = claims.pop("iat"), claims.pop("exp")
    assert isinstance(issued_at, int)
    assert expires_at == issued_at + 60
    assert claims == {
        "sub": "alice",
        "aud": "authenticated",
        "role": "authenticated",
        "iss": "https://x.supabase.co/auth/v1",
        "email": "a@b.c",
        "name": "Al",
    }


def test_without_authentication_a_token_has_the_development_secret(tmp_path: Path) -> None:
    done = run("token", "--sub", "alice")

    secret = tmp_path / "data" / "dev_secret"
    claims = decode(done.stdout.strip(), secret.read_text())
    assert claims["sub"] == "alice"
    assert "iss" not in claims
    assert stat.S_IMODE(secret.stat().st_mode) == 0o600


def test_a_token_that_only_the_issuer_can_sign_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUPABASE_URL", "https://x.supabase.co")

    assert isinstance(run("token", "--sub", "alice").exception, SetupError)


def test_benchmarks_are_of_a_checkout_only(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cli, "__file__", str(tmp_path / "site-packages" / "parley" / "cli.py"))

    done = run("bench", "--rounds", "1")

    assert isinstance(done.exception, SetupError)
    assert "checkout" in done.exception.message


def test_serving_to_others_without_authentication_is_refused(tmp_path: Path) -> None:
    done = run("serve", "--host", "0.0.0.0")

    assert isinstance(done.exception, SetupError)
    assert "SUPABASE_JWT_SECRET" in done.exception.message
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize(
    "arguments",
    [["serve", "--port", "0"], ["serve", "--workers", "0"], ["token"], ["nonsense"]],
)
def test_wrong_arguments_are_refused(arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


def test_a_setup_error_is_one_line_and_no_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PARLEY_MAX_ARGS_BYTES", "many")
    monkeypatch.setattr("sys.argv", ["parley", "migrate"])

    with pytest.raises(SystemExit) as caught:
        cli.main()

    assert caught.value.code == 1
    assert capsys.readouterr().err == (
        "parley: PARLEY_MAX_ARGS_BYTES must be a whole number, at least 1.\n"
    )


def test_the_dsn_of_a_server_that_does_not_run_is_not_given() -> None:
    assert isinstance(run("psql", "--dsn").exception, SetupError)


def test_psql_gets_the_password_where_nobody_else_sees_it() -> None:
    url, password = cli._without_password("postgresql://u:p%40ss@h:5432/d?sslmode=require")

    assert url == "postgresql://u@h:5432/d?sslmode=require"
    assert password == "p@ss"


def test_a_dsn_without_password_stays_as_it_is() -> None:
    dsn = "postgresql://parley@/parley?host=/tmp/a%20b&port=5432"

    assert cli._without_password(dsn) == (dsn, None)


def test_the_doctor_makes_nothing(tmp_path: Path) -> None:
    done = run("doctor", "--port", "1")

    assert done.exit_code == 0
    assert "will be made at the first start" in done.stdout
    assert "development mode" in done.stdout
    assert list(tmp_path.iterdir()) == []


def test_the_doctor_fails_when_parley_could_not_work(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:secret-word@127.0.0.1:1/none")

    done = run("doctor", "--host", "0.0.0.0")

    assert done.exit_code == 1
    assert "PROBLEM The database is out of reach" in done.stdout
    assert "PROBLEM No authentication is configured" in done.stdout
    assert "secret-word" not in done.stdout


def test_codegen_writes_files_that_are_then_up_to_date(tmp_path: Path) -> None:
    out = tmp_path / "new" / "_generated"

    assert run("codegen", "--out", str(out)).exit_code == 0
    first = {path.name: path.stat().st_mtime_ns for path in out.iterdir()}

    assert set(first) == {"api.d.ts", "api.js", "dataModel.d.ts"}
    assert run("codegen", "--out", str(out), "--check").exit_code == 0
    assert run("codegen", "--out", str(out)).exit_code == 0
    assert {path.name: path.stat().st_mtime_ns for path in out.iterdir()} == first


def test_codegen_check_fails_on_files_that_lag_behind_and_leaves_them(tmp_path: Path) -> None:
    run("codegen", "--out", str(tmp_path))
    (tmp_path / "api.d.ts").write_text("old")
    (tmp_path / "api.js").unlink()

    checked = run("codegen", "--out", str(tmp_path), "--check")

    assert isinstance(checked.exception, SetupError)
    assert checked.exception.message == (
        f"api.d.ts, api.js in {tmp_path} out of date: run `parley codegen` again."
    )
    assert (tmp_path / "api.d.ts").read_text() == "old"
    assert not (tmp_path / "api.js").exists()


def test_codegen_takes_the_functions_that_are_named(tmp_path: Path) -> None:
    run("codegen", "--out", str(tmp_path), "--functions", "tests.support.functions")

    text = (tmp_path / "api.d.ts").read_text()
    assert "probe: {" in text
    assert "conversations: {" not in text
