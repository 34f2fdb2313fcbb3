"""Tabs of one profile: one socket, any tab writes, and whoever leads may die at any time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import pytest

from tests.browser.conftest import NewDevice
from tests.browser.device import Device, Tab
from tests.browser.witness import Database, entries, metric, until_committed
from tests.support.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")

WITHOUT_LOCKS = "Object.defineProperty(Navigator.prototype, 'locks', { value: undefined })"


async def roles(tabs: list[Tab]) -> list[str]:
    """Return each tab's role."""
    return [(await tab.state())["role"] for tab in tabs]


async def open_tabs(device: Device, count: int) -> tuple[Tab, list[Tab]]:
    """Open tabs that are connected, and return the leader and the others."""
    tabs = [await device.open_client() for _ in range(count)]
    for tab in tabs:
        await tab.until_state(phase="connected")
    [leader] = [tab for tab, role in zip(tabs, await roles(tabs), strict=True) if role == "leader"]
    return leader, [tab for tab in tabs if tab is not leader]


async def until_led(tabs: list[Tab]) -> None:
    """Wait until one of these leads. Where all is slow, the lead may go round before it rests."""
    async with asyncio.timeout(10):
        while sorted(await roles(tabs))[1:] != ["leader"]:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def until_sockets(server: Server, count: int) -> None:
    """Wait until the server has this many sockets."""
    async with asyncio.timeout(10):
        while await metric(server, "parley_connections") != count:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def close(leader: Tab, device: Device) -> None:
    """Close the tab as a person does."""
    await leader.page.close()


async def crash(leader: Tab, device: Device) -> None:
    """Let its process die."""
    await leader.crash(device)


async def freeze(leader: Tab, device: Device) -> None:
    """Stop it where it is, with its locks: no event reaches it any more."""
    await leader.freeze(device)


async def put_to_sleep(leader: Tab, device: Device) -> None:
    """Tell it that it is frozen now, as browsers do with tabs nobody has looked at for long."""
    await leader.js("() => { document.dispatchEvent(new Event('freeze')); }")


async def block(leader: Tab, device: Device) -> None:
    """Let it compute, so that it hears and says nothing."""
    await leader.js(
        "() => setTimeout(() => { const end = performance.now() + 4000;"
        " while (performance.now() < end); })"
    )


async def wake(tab: Tab) -> None:
    """Tell it that it is not frozen any more."""
    await tab.js("() => { document.dispatchEvent(new Event('resume')); }")


LOSSES = {
    "closed": close,
    "crashed": crash,
    "frozen": freeze,
    "asleep": put_to_sleep,
    "blocked": block,
}


async def test_two_devices_see_each_others_writes(new_device: NewDevice) -> None:
    one, other = [await (await new_device()).open_client() for _ in range(2)]
    for tab in (one, other):
        await tab.watch("bodies", "probe:bodies", topic="two devices")

    await one.append("two devices", "from one")
    await other.until_shown("bodies", ["from one"], isStale=False)
    await other.append("two devices", "from the other")

    for tab in (one, other):
        await tab.until_shown("bodies", ["from one", "from the other"], isStale=False)


async def test_three_tabs_share_one_socket_and_one_subscription(
    device: Device, server: Server
) -> None:
    leader, others = await open_tabs(device, 3)
    tabs = [leader, *others]
    for tab in tabs:
        await tab.watch("bodies", "probe:bodies", topic="three tabs")
        await tab.until_shown("bodies", [], isStale=False)

    await until_sockets(server, 1)
    assert sorted(await roles(tabs)) == ["follower", "follower", "leader"]

    await others[0].append("three tabs", "a")
    for tab in tabs:
        await tab.until_shown("bodies", ["a"])


@pytest.mark.parametrize("lose", LOSSES.values(), ids=LOSSES)
async def test_leader_is_lost_mid_write_and_nothing_is_lost_or_doubled(
    device: Device,
    server: Server,
    database: Database,
    lose: Callable[[Tab, Device], Awaitable[None]],
) -> None:
    topic = f"leader {lose.__name__}"
    leader, [writer, other] = await open_tabs(device, 3)
    for tab in (writer, other):
        await tab.watch("bodies", "probe:bodies", topic=topic)
        await tab.until_shown("bodies", [], isStale=False)
    device.network.drops_replies = True
    await leader.append(topic, "a")
    await writer.append(topic, "b")
    await other.append(topic, "c")
    await until_committed(server, topic, *"abc")  # and no tab knows
    device.network.drops_replies = False

    await lose(leader, device)
    await writer.append(topic, "d", "e")

    for tab in (writer, other):
        await tab.until_shown("bodies", list("abcde"), isStale=False)
        await tab.until_state(unsent=0, failed=0)
    await until_led([writer, other])
    assert await entries(database, topic) == list("abcde")


async def test_frozen_leader_that_comes_back_follows(device: Device, server: Server) -> None:
    leader, [other] = await open_tabs(device, 2)
    frozen = await leader.freeze(device)
    await other.until_state(role="leader", phase="connected")

    await frozen.send("Debugger.disable")

    await leader.until_state(role="follower", phase="connected")
    await until_sockets(server, 1)
    await leader.watch("bodies", "probe:bodies", topic="thawed")
    await leader.append("thawed", "a")
    await leader.until_shown("bodies", ["a"], isStale=False)
    await leader.until_state(unsent=0)


async def test_tab_that_slept_beside_a_frozen_leader_follows_the_next_one(device: Device) -> None:
    leader, [sleeper, other] = await open_tabs(device, 3)
    await sleeper.watch("bodies", "probe:bodies", topic="slept")
    await sleeper.until_shown("bodies", [], isStale=False)
    await leader.freeze(device)
    await put_to_sleep(sleeper, device)
    await other.until_state(role="leader", phase="connected")
    await other.append("slept", "a")
    await other.until_state(unsent=0)

    await wake(sleeper)

    await sleeper.until_shown("bodies", ["a"], isStale=False)
    assert (await sleeper.state())["role"] == "follower"


async def test_duplicated_tab_is_a_tab_of_its_own(
    device: Device, server: Server, database: Database
) -> None:
    first = await device.open_client()
    await first.js("() => sessionStorage.setItem('copied', 'yes')")
    async with device.context.expect_page() as opening:
        await first.js("() => { open(location.href); }")
    second = Tab(await opening.value)
    await second.until("() => window.isReady")
    assert await second.js("() => sessionStorage.getItem('copied')") == "yes"

    for n in range(5):
        await first.append("duplicated", f"first {n}")
        await second.append("duplicated", f"second {n}")

    for tab in (first, second):
        await tab.until_state(phase="connected", unsent=0, failed=0)
    assert sorted(await roles([first, second])) == ["follower", "leader"]
    expected = [f"{tab} {n}" for n in range(5) for tab in ("first", "second")]
    assert await entries(database, "duplicated") == expected
    await until_sockets(server, 1)


async def test_without_web_locks_each_tab_runs_alone(
    device: Device, database: Database, server: Server
) -> None:
    await device.context.add_init_script(WITHOUT_LOCKS)
    tabs = [await device.open_client() for _ in range(2)]
    for tab in tabs:
        await tab.until_state(phase="connected", role="alone")
    await until_sockets(server, 2)

    for n, tab in enumerate(tabs):
        await tab.append("alone", f"{n}a", f"{n}b")
        await tab.until_state(unsent=0, failed=0)

    assert await entries(database, "alone") == ["0a", "0b", "1a", "1b"]
