import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { JSDOM } from "jsdom";

const { window } = new JSDOM("");
Object.assign(globalThis, { window, document: window.document });
// It asks for a window when it is loaded.
const { renderMarkdown } = await import("../../demo/markdown.js");

/** @param {string} text @param {boolean} [breaks] */
function rendered(text, breaks = false) {
  const root = window.document.createElement("div");
  root.append(renderMarkdown(text, { breaks }));
  return root;
}

const ATTACKS = [
  "<script>alert(1)</script>",
  "<img src=x onerror=alert(1)>",
  "<svg onload=alert(1)><style>*{}</style></svg>",
  "<iframe srcdoc='<script>alert(1)</script>'></iframe>",
  "<a href='javascript:alert(1)' style='position:fixed'>x</a>",
  "[x](javascript:alert(1))",
  "[x](JaVaScRiPt&colon;alert(1))",
  "[x](data:text/html,<script>alert(1)</script>)",
  "[x](vbscript:x)",
  '[x](https://example.com "onmouseover=alert(1)")',
  '![x](https://example.com/a.png "t")',
  "![x](javascript:alert(1))",
  '```"><img src=x onerror=alert(1)>\ncode\n```',
  "`<img src=x onerror=alert(1)>`",
  "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
  "<form action=https://example.com><input name=a><button>x</button></form>",
];

describe("what others wrote", () => {
  for (const attack of ATTACKS) {
    test(`cannot run, load or look like the page: ${attack}`, () => {
      const root = rendered(`before\n\n${attack}\n\nafter`);

      const elements = [...root.querySelectorAll("*")];
      const attributes = elements.flatMap((element) => [...element.attributes]);
      assert.equal(root.querySelector("script,img,svg,style,iframe,form,math,object,link"), null);
      assert.deepEqual(
        attributes.filter(({ name }) =>
          /^on|^style$|^src|^srcdoc$|^action$|^id$|^name$/.test(name),
        ),
        [],
      );
      for (const link of root.querySelectorAll("a[href]")) {
        assert.match(link.getAttribute("href") ?? "", /^(https?|mailto|tel):/);
        assert.equal(link.getAttribute("rel"), "noopener noreferrer nofollow");
        assert.equal(link.getAttribute("target"), "_blank");
      }
      assert.match(root.textContent ?? "", /^before[\s\S]*after\s*$/);
    });
  }

  test("is shown as it was written where it is not Markdown", () => {
    assert.equal(rendered("a <b>c</b> & d").textContent?.trim(), "a <b>c</b> & d");
  });
});

describe("Markdown", () => {
  test("keeps the alignment and numbers that it means", () => {
    const root = rendered("| a |\n|--:|\n| 1 |\n\n3. three");

    assert.equal(root.querySelector("td")?.getAttribute("align"), "right");
    assert.equal(root.querySelector("ol")?.getAttribute("start"), "3");
  });

  test("puts a table into a frame that scrolls and can have the focus", () => {
    const frame = rendered("| a |\n|---|\n| 1 |").querySelector("table")?.parentElement;

    assert.deepEqual([frame?.className, frame?.tabIndex], ["table", 0]);
  });

  test("gives code a button to copy it", () => {
    const root = rendered("```py\nprint(1 < 2)\n```");

    assert.equal(root.querySelector("button[data-copy]")?.textContent, "Copy");
    assert.equal(root.querySelector("pre")?.textContent, "print(1 < 2)");
  });

  test("leaves the first level of headings to the page", () => {
    const root = rendered("# One\n\n###### Six");

    assert.deepEqual(
      [...root.children].map(({ tagName }) => tagName),
      ["H2", "H6"],
    );
  });

  test("breaks lines where people do, and elsewhere not", () => {
    assert.ok(rendered("one\ntwo", true).querySelector("br"));
    assert.equal(rendered("one\ntwo").querySelector("br"), null);
  });

  test("gives new elements for a text that it has made before", () => {
    const [first, second] = [rendered("same"), rendered("same")];

    assert.equal(first.innerHTML, second.innerHTML);
    assert.notEqual(first.firstChild, second.firstChild);
  });
});
