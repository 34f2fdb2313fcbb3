"""What others wrote is shown, and never runs, loads or moves anything."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from playwright.async_api import expect

from tests.browser.chatpage import open_chat
from tests.browser.device import Device
from tests.browser.witness import dev_token
from tests.support.client import SyncClient, open_client
from tests.support.server import Server

pytestmark = pytest.mark.asyncio(loop_scope="session")

# Each calls `xss()` if it runs, or loads from evil.test if it loads.
HTML = [
    "<script>xss()</script>",
    "<img src=x onerror=xss()>",
    "<img src=https://evil.test/pixel.png>",
    "<svg onload=xss()>",
    "<svg><script>xss()</script></svg>",
    "<svg><a xlink:href='javascript:xss()'><text y=20>click</text></a></svg>",
    "<svg><animate onbegin=xss() attributeName=x dur=1s>",
    "<math><mtext><table><mglyph><style><!--</style>"
    "<img title='--&gt;&lt;img src=1 onerror=xss()&gt;'>",
    "<iframe srcdoc='<script>parent.xss()</script>'></iframe>",
    "<iframe src='javascript:parent.xss()'></iframe>",
    "<object data='javascript:xss()'></object><embed src='https://evil.test/x.swf'>",
    "<base href='https://evil.test/'>",
    "<meta http-equiv=refresh content='0;url=https://evil.test/'>",
    "<link rel=stylesheet href='https://evil.test/x.css'>",
    "<style>@import 'https://evil.test/y.css'</style>",
    "<form action='https://evil.test/'><input name=at><input autofocus onfocus=xss()></form>",
    "<a href='javascript:xss()'>click</a><a href='&#106;avascript:xss()'>click</a>",
    "<details open ontoggle=xss()><summary>x</summary></details>",
    "<video><source onerror=xss()></video><audio src=x onerror=xss()>",
    "<input autofocus onfocus=xss()><body onload=xss()>",
    "<div style='background:url(https://evil.test/bg.png)' onmouseover=xss()>x</div>",
    "<template><script>xss()</script></template><noscript><img src=x onerror=xss()></noscript>",
    "<img name=app id=composer><a id=documentElement><a id=documentElement name=x>",
]
MARKDOWN = [
    "[click](javascript:xss())",
    "[click](JaVaScRiPt:xss())",
    "[click](java\tscript:xss())",
    "[click](&#x6A;avascript:xss())",
    "[click](data:text/html,<script>xss()</script>)",
    "[click](vbscript:xss())",
    "[click](//evil.test/ 'title\" onmouseover=\"xss()')",
    "<javascript:xss()>",
    "![image](https://evil.test/pixel.png)",
    '![image](x" onerror="xss())',
    '![" onerror="xss()](https://evil.test/pixel.png)',
    "[ref]\n\n[ref]: javascript:xss()",
    '```"><img src=x onerror=xss()>\ncode\n```',
    "```html\n<script>xss()</script>\n```",
    "`<img src=x onerror=xss()>`",
    "| <img src=x onerror=xss()> |\n|---|\n| [x](javascript:xss()) |",
    "# <img src=x onerror=xss()>",
    "{{constructor.constructor('xss()')()}} ${xss()} <%= xss() %>",
    "> " * 200 + "deep",
    "[" * 500 + "](javascript:xss())",
]
CORPUS = [*HTML, *MARKDOWN]
CITATIONS = [
    {
        "title": "<img src=x onerror=xss()>",
        "url": "javascript:xss()",
        "snippet": "<svg onload=xss()>",
    },
    {"title": "data", "url": "data:text/html,<script>xss()</script>"},
    {"title": "", "url": " java\nscript:xss()"},
    {"title": "fine", "url": "https://example.com/?a=1&b=<script>"},
]
TOOLS = [
    {
        "name": "<img src=x onerror=xss()>",
        "args": {
            "type": "div",
            "props": {"dangerouslySetInnerHTML": {"__html": "<img src=x onerror=xss()>"}},
        },
        "result": {"__proto__": {"polluted": True}, "constructor": None, "key": None, "ref": None},
    }
]

TRAP = "window.xss = () => { window.wasTricked = true; };"
DANGEROUS = """() => [...document.querySelectorAll("*")].flatMap((element) => [
  ...[...element.attributes].filter(({ name }) => /^on/i.test(name)).map(({ name }) => name),
  ...(element.matches("body :is(script, iframe, object, embed, base, form[action], style)")
    ? [element.outerHTML] : []),
  ...(element.href && !/^(https?|mailto|tel):/.test(element.href.baseVal ?? element.href)
    ? [String(element.href.baseVal ?? element.href)] : []),
])"""


async def write_everywhere(owner: SyncClient) -> None:
    """Put the corpus into titles, tags, messages, reasoning, citations and tools of a user."""
    main = await owner.mutate("conversations:create", {"title": "The corpus"})
    for text in CORPUS:
        titled = await owner.mutate("conversations:create", {"title": text[:200]})
        await owner.mutate("conversations:update", {"conversationId": titled, "tags": [text[:40]]})
    for role in ("user", "assistant"):
        for text in CORPUS:
            await owner.mutate(
                "conversations:addMessage",
                {"conversationId": main, "role": role, "content": text},
            )
    await owner.mutate(
        "conversations:addMessage",
        {
            "conversationId": main,
            "role": "assistant",
            "content": "The end",
            "reasoningText": "\n\n".join(CORPUS),
            "citations": CITATIONS,
            "tools": TOOLS,
        },
    )


async def test_nothing_that_others_wrote_runs_loads_or_leads_astray(
    device: Device, server: Server
) -> None:
    async with open_client(server.url) as owner:
        await owner.authenticate(await dev_token(server, "xavier"))
        await write_everywhere(owner)
    asked: list[str] = []
    device.context.on("request", lambda request: asked.append(request.url))
    await device.context.add_init_script(TRAP)
    chat = await open_chat(device, "xavier")
    await chat.open_conversation("The corpus")
    await expect(chat.messages.last).to_contain_text("The end")

    log = chat.page.get_by_role("log", name="Messages")
    for shown in (80, 2 * len(CORPUS) + 1):
        await log.evaluate("(log) => log.scrollTo(0, 0)")
        await expect(chat.messages).to_have_count(shown)
    await chat.page.evaluate(
        "document.querySelectorAll('details').forEach((d) => { d.open = true; })"
    )
    await chat.page.evaluate(
        "document.querySelectorAll('#app *').forEach((each) =>"
        " each.dispatchEvent(new MouseEvent('mouseover', { bubbles: true })))"
    )
    assert await chat.page.evaluate(DANGEROUS) == []
    for number in range(len(CORPUS)):
        await chat.conversations.nth(number).click()

    assert await chat.page.evaluate("window.wasTricked") is None
    assert await chat.page.evaluate("({}).polluted") is None
    assert await chat.page.evaluate(DANGEROUS) == []
    hosts = {urlsplit(url).netloc for url in asked if url.startswith("http")}
    assert hosts == {urlsplit(device.url).netloc}
    assert urlsplit(chat.page.url).netloc == urlsplit(device.url).netloc
    assert len(device.context.pages) == 1
