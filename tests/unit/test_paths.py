"""Function paths in one form (PROTOCOL.md §13.1)."""

import pytest

from parley.errors import FunctionNotFound
from parley.functions.paths import canonical, printable


@pytest.mark.parametrize(
    ("path", "form"),
    [
        ("mod:fn", "mod:fn"),
        ("mod.js:fn", "mod:fn"),
        ("mod", "mod:default"),
        ("mod.js", "mod:default"),
        ("dir/sub/mod:fn", "dir/sub/mod:fn"),
        ("dir/mod.js", "dir/mod:default"),
        ("mod_2:_fn", "mod_2:_fn"),
    ],
)
def test_path_has_one_canonical_form(path: str, form: str) -> None:
    assert canonical(path) == form
    assert canonical(form) == form


@pytest.mark.parametrize(
    "path",
    [
        "",
        ":",
        ":fn",
        "mod:",
        "a:b:c",
        "/mod:fn",
        "mod/:fn",
        "a//b:fn",
        "../mod:fn",
        "./mod:fn",
        "mod.ts:fn",
        "mod.js.js:fn",
        ".js:fn",
        "mod:fn.js",
        "mod:1fn",
        "mod:f n",
        "mod:fn\n",
        "größe:fn",
        "mod:__class__.__init__",
    ],
)
def test_impossible_path_is_a_function_that_is_not_there(path: str) -> None:
    with pytest.raises(FunctionNotFound) as refusal:
        canonical(path)

    assert refusal.value.message == f"Could not find public function for '{printable(path)}'."


def test_message_escapes_control_characters_and_is_cut() -> None:
    with pytest.raises(FunctionNotFound) as refusal:
        canonical("a\n\x1b[31m\u202e\ud800é" + "x" * 10_000)

    assert refusal.value.message.startswith(
        r"Could not find public function for 'a\n\x1b[31m\u202e\ud800éxxx"
    )
    assert len(refusal.value.message) < 300
