"""Development mode: who may have it, and its secret."""

from __future__ import annotations

import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from parley.config import Settings
from parley.devmode import dev_secret, is_development, is_loopback, registry_of
from parley.errors import SetupError

LOOPBACK = ["127.0.0.1", "127.8.9.1", "::1", "[::1]", "localhost"]
OPEN = ["0.0.0.0", "::", "192.168.1.2", "example.com", "localhost.example.com", "", "127.0.0.1.x"]


@pytest.mark.parametrize("host", LOOPBACK)
def test_a_loopback_address_without_auth_is_development(host: str) -> None:
    assert is_loopback(host)
    assert is_development(Settings(), host)


@pytest.mark.parametrize("host", OPEN)
def test_any_other_address_without_auth_is_refused_in_words(host: str) -> None:
    assert not is_loopback(host)
    with pytest.raises(SetupError, match=r"SUPABASE_JWT_SECRET.*AUTH_ISSUER.*127\.0\.0\.1"):
        is_development(Settings(), host)


@pytest.mark.parametrize("host", [*LOOPBACK, *OPEN])
def test_with_auth_there_is_no_development_mode(host: str) -> None:
    assert not is_development(Settings(supabase_url="https://x.supabase.co"), host)


def test_the_secret_is_long_private_and_the_same_ever_after(tmp_path: Path) -> None:
    first = dev_secret(tmp_path / "data")

    assert len(first) >= 32
    assert dev_secret(tmp_path / "data") == first
    files = list((tmp_path / "data").iterdir())
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600]


def test_two_data_directories_have_two_secrets(tmp_path: Path) -> None:
    assert dev_secret(tmp_path / "a") != dev_secret(tmp_path / "b")


def test_all_who_ask_at_once_get_the_same_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(16) as pool:
        found = set(pool.map(dev_secret, [tmp_path / "data"] * 64))

    assert len(found) == 1


@pytest.mark.parametrize(("text", "mode"), [("short", 0o600), ("x" * 40, 0o644)])
def test_a_damaged_or_open_secret_is_not_used(tmp_path: Path, text: str, mode: int) -> None:
    (tmp_path / "dev_secret").write_text(text)
    (tmp_path / "dev_secret").chmod(mode)

    with pytest.raises(SetupError, match="remove it, a new one is made"):
        dev_secret(tmp_path)


# --- the assistant of development mode


def served(**settings: Any) -> set[str]:
    return {function.path for function in registry_of(Settings(**settings))}


def test_development_mode_has_an_assistant_and_nothing_else_has() -> None:
    assert served(is_development=True) - served() == {"assistant:reply"}


def test_without_the_chat_there_is_no_assistant() -> None:
    modules = ("tests.support.functions",)

    assert served(is_development=True, functions=modules) == served(functions=modules)


def test_an_apps_own_assistant_goes_before_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_app").mkdir()
    (tmp_path / "own_app" / "assistant.py").write_text(
        "from parley import ActionCtx, action\n"
        "@action\n"
        "async def answer(ctx: ActionCtx) -> None: ...\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    modules = ("parley.chat", "own_app.assistant")

    paths = served(is_development=True, functions=modules)

    assert [path for path in paths if path.startswith("assistant:")] == ["assistant:answer"]
