"""docs/security.md: every attack names what tests it, and that is there."""

from __future__ import annotations

import tomllib

import pytest

from tests.support.docs import ROOT, Page, code_in, undefined

ATTACKS = {
    attack: code_in(tests)
    for attack, _, tests in Page("docs/security.md").rows("Attacks, and what tests them")
}


def test_there_are_attacks_of_every_section_of_the_specification() -> None:
    assert len(ATTACKS) >= 30


@pytest.mark.parametrize("attack", ATTACKS)
def test_what_is_named_against_an_attack_exists(attack: str) -> None:
    assert ATTACKS[attack]
    assert undefined(ATTACKS[attack]) == []
    assert all(name.startswith("test_") for name in ATTACKS[attack])


def test_sql_is_put_together_in_one_place_only() -> None:
    """The linter finds SQL made of values (S608); where it may be, names are the catalog's."""
    config = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    excepted = [
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "server").rglob("*.py")
        if "S608" in path.read_text()
    ]

    assert "S" in config["select"]
    assert not {"S", "S6", "S60", "S608"} & set(config["ignore"])
    assert excepted == ["server/parley/store/load.py"]
