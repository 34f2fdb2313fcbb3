"""Whose data is whose on one device, and tokens that fail in every way."""

from __future__ import annotations

import pytest

from tests.browser.device import KEPT, Device, Tab, until_kept
from tests.browser.witness import Database, titles

pytestmark = pytest.mark.asyncio(loop_scope="session")

ID = "01900000-0000-7000-8001-{:012d}"


async def open_list(device: Device, **options: object) -> Tab:
    """Open a tab that shows the user's conversations."""
    tab = await device.open_client(**options)
    await tab.watch("list", "conversations:list")
    return tab


async def create(tab: Tab, number: int, title: str) -> None:
    """Make a conversation; it is stored."""
    await tab.send("conversations:create", id=ID.format(number), title=title)


async def until_titles(tab: Tab, *wanted: str) -> None:
    """Wait until exactly these conversations are shown, newest first."""
    await tab.until(
        "(wanted) => JSON.stringify(shown.list.at(-1)?.value?.map(({ title }) => title))"
        " === JSON.stringify(wanted)",
        list(wanted),
    )


async def sign_in(tab: Tab, user: str) -> None:
    """Become another user, without signing out first."""
    await tab.js("(user) => signIn(user)", user)


async def ever_shown(tab: Tab) -> set[str]:
    """Return every title that the page has shown."""
    found = await tab.js("() => shown.list.flatMap(({ value }) => value ?? []).map((c) => c.title)")
    return set(found)


async def test_writes_of_one_user_are_never_sent_under_another(
    device: Device, database: Database
) -> None:
    tab = await open_list(device, user="ada")
    await until_titles(tab)
    await device.go_offline()
    await create(tab, 1, "of ada")
    await create(tab, 2, "also of ada")
    await tab.page.close()
    await device.go_online()

    other = await open_list(device, user="bo")
    await other.until_state(phase="connected")
    await create(other, 3, "of bo")
    await until_titles(other, "of bo")
    await other.until_state(unsent=0, failed=0)

    assert await titles(database, "bo") == ["of bo"]
    assert await titles(database, "ada") == []
    await sign_in(other, "ada")
    await until_titles(other, "also of ada", "of ada")
    await other.until_state(unsent=0, failed=0)
    assert await titles(database, "ada") == ["of ada", "also of ada"]
    assert await titles(database, "bo") == ["of bo"]


async def test_change_of_user_in_a_running_page_shows_only_the_new_ones_data(
    device: Device,
) -> None:
    tab = await open_list(device, user="cleo")
    await until_titles(tab)
    await create(tab, 11, "of cleo")
    await until_titles(tab, "of cleo")
    await tab.until_state(unsent=0)

    await sign_in(tab, "dan")
    await until_titles(tab)
    await create(tab, 12, "of dan")
    await until_titles(tab, "of dan")

    # Never both, and never cleo's again once dan is there.
    seen = await tab.js("() => shown.list.map(({ value }) => value?.map(({ title }) => title))")
    assert ["of cleo", "of dan"] not in seen
    assert ["of dan", "of cleo"] not in seen
    assert ["of cleo"] not in seen[seen.index(["of dan"]) :]


async def test_logout_leaves_nothing_on_the_device_and_refuses_to_drop_unsent_writes(
    device: Device, database: Database
) -> None:
    tab = await open_list(device, user="eve")
    await until_titles(tab)
    await create(tab, 21, "sent")
    await tab.until_state(unsent=0)
    await device.go_offline()
    await create(tab, 22, "unsent")

    for text in ("|eve", "unsent", "conversations:list"):
        await until_kept(tab.page, text)
    code = await tab.js("() => client.logout().then(() => 'done', (error) => error.code)")
    assert code == "UnsentWrites"
    await until_titles(tab, "unsent", "sent")
    await tab.js("() => client.logout({ discardUnsent: true })")

    kept = await tab.js(KEPT)
    assert not any(text in kept for text in ("eve", "sent", "conversations:list"))
    assert await tab.shown("list") is None
    await device.go_online()
    assert await titles(database, "eve") == ["sent"]


async def test_writes_of_a_guest_move_into_the_account_once(
    device: Device, database: Database
) -> None:
    tab = await open_list(device, client={"guest": True})
    await tab.until_state(phase="guest")
    await create(tab, 31, "as a guest")
    await create(tab, 32, "another")
    await tab.page.reload()
    await tab.watch("list", "conversations:list")
    await until_titles(tab, "another", "as a guest")

    await sign_in(tab, "gil")
    await tab.until_state(phase="connected")
    await tab.js("async () => { await client.adoptGuest(); await client.adoptGuest(); }")

    await tab.until_state(unsent=0, failed=0)
    await until_titles(tab, "another", "as a guest")
    assert await titles(database, "gil") == ["as a guest", "another"]


@pytest.mark.parametrize("mode", ["throws", "hangs"])
async def test_token_that_cannot_be_had_is_a_state_and_not_the_end(
    device: Device, database: Database, mode: str
) -> None:
    user = f"tom {mode}"
    number = {"throws": 41, "hangs": 43}[mode]
    await device.context.clock.install()
    tab = await open_list(device, user=user)
    await until_titles(tab)
    await create(tab, number, "before")
    await tab.until_state(unsent=0)

    await tab.js("(mode) => { setTokenMode(mode); }", mode)
    await sign_in(tab, user)
    await tab.page.clock.fast_forward(11_000)
    await tab.until_state(phase="needs-auth")
    assert (await tab.state())["reason"]
    await tab.js("() => setTokenMode('ok')")
    await tab.page.clock.fast_forward(61_000)

    await tab.until_state(phase="connected")
    await create(tab, number + 1, "after")
    await tab.until_state(unsent=0, failed=0)
    assert await titles(database, user) == ["before", "after"]


async def test_token_that_never_changes_is_told_when_it_expires_and_replaced(
    device: Device, database: Database
) -> None:
    await device.context.clock.install()
    tab = await open_list(device, user="sam")
    await until_titles(tab)

    await tab.js("() => setTokenMode('same')")
    await tab.page.clock.fast_forward(3_600_000)
    await tab.until("() => client.connectionState().reason?.includes('same token')")
    await tab.js("() => setTokenMode('ok')")
    await tab.page.clock.fast_forward(61_000)

    await tab.until_state(phase="connected", reason=None)
    await create(tab, 61, "after")
    await tab.until_state(unsent=0, failed=0)
    assert await titles(database, "sam") == ["after"]


async def test_no_token_means_signed_out_and_nothing_is_lost(
    device: Device, database: Database
) -> None:
    tab = await open_list(device, user="nora")
    await until_titles(tab)
    await device.go_offline()
    await create(tab, 51, "unsent")
    await until_titles(tab, "unsent")

    await device.go_online()
    await tab.js("() => setTokenMode('null')")
    await sign_in(tab, "nora")
    await tab.until_state(account="anonymous", phase="connected")
    await until_titles(tab)
    await tab.js("() => setTokenMode('ok')")
    await sign_in(tab, "nora")

    await until_titles(tab, "unsent")
    await tab.until_state(phase="connected", unsent=0, failed=0)
    assert await titles(database, "nora") == ["unsent"]
