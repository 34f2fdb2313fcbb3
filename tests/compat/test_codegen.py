"""What `parley codegen` writes, read by tsc and run by node; with the official client and ours."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from parley.functions.codegen import generate
from parley.functions.registry import Registry
from tests.support.nodejs import find_node

CLIENT = Path(__file__).parents[2] / "client_js"
TSC = str(CLIENT / "node_modules/.bin/tsc")
HOOKS = Path(__file__).with_name("js") / "seed/src/hooks/use-convex-conversations.ts"
CONVEX, OWN = "convex/react", "parley-client/react"

RIGHT = """
import { useAction, useMutation, usePaginatedQuery, useQuery } from "convex/react";
import type { FunctionArgs, FunctionReference, FunctionReturnType } from "convex/server";
import { api, type Message } from "./api.js";
import type { Id } from "./dataModel.js";

declare const conversationId: Id<"conversations">;

const list = useQuery(api.conversations.list);
export const titles: string[] | undefined = list?.map((each) => each.title);
export const got = useQuery(api.conversations.get, conversationId ? { conversationId } : "skip");
export const first: Message | undefined = got?.messages[0];
export const role: "user" | "assistant" | "system" | undefined = first?.role;
export const made: Promise<Id<"conversations">> = useMutation(api.conversations.create)({});
export const added: Promise<Id<"messages">> = useMutation(api.conversations.addMessage)({
  conversationId, role: "user", content: "x", citations: [{ title: "t", url: "u" }],
});
const first5 = { initialNumItems: 5 };
export const pages = usePaginatedQuery(api.messages.list, { conversationId }, first5);
export const newest: Message | undefined = pages.results[0];
export const answered: Promise<Id<"messages"> | null> = useAction(api.assistant.reply)({
  conversationId,
});
useMutation(api.conversations.update).withOptimisticUpdate((store, { conversationId, title }) => {
  const before = store.getQuery(api.conversations.get, { conversationId });
  if (!before || title === undefined) return;
  store.setQuery(api.conversations.get, { conversationId }, { ...before, title });
});

const mutation: FunctionReference<"mutation"> = api.conversations.remove;
type Args = FunctionArgs<typeof api.conversations.importMessages>;
export const count: FunctionReturnType<typeof api.conversations.importMessages> = 3;
export const imported: Args["messages"] = [];
export { mutation };
"""

# Each alone is an error: a wrong argument never gets as far as a server.
WRONG = {
    "an unknown argument": "useQuery(api.conversations.list, { all: true })",
    "a missing argument": "useQuery(api.conversations.get, {})",
    "an id of another table": "useQuery(api.conversations.get, { conversationId: userId })",
    "any text as an id": 'useQuery(api.conversations.get, { conversationId: "x" })',
    "a value of another type": "useMutation(api.conversations.create)({ title: 1 })",
    "a word that is none of the literals":
        'useMutation(api.conversations.addMessage)({ conversationId, role: "bot", content: "" })',
    "a misspelt field":
        'useMutation(api.conversations.update)({ conversationId, titled: "x" })',
    "a nested field too few":
        'useMutation(api.conversations.addMessage)({ conversationId, role: "user", content: "",'
        ' citations: [{ title: "t" }] })',
    "a query as a mutation": "useMutation(api.conversations.list)",
    "a function that is not there": "useQuery(api.conversations.lst)",
    "a result as another type": "const n: number = useMutation(api.conversations.create)({})",
    "a result that may be null": "useQuery(api.conversations.get, { conversationId })!.messages.x",
}  # fmt: skip
# Without hooks; what is wrong says so, and is an error if it is not wrong.
OWN_CLIENT = """
import { createClient, type MutationHandle } from "parley-client";
import { useConnectionState, useOutbox, usePaginatedQuery } from "parley-client/react";
import { liveQuery } from "parley-client/zustand";
import { create } from "zustand";
import { api, type Conversation, type Message } from "./api.js";
import type { Id } from "./dataModel.js";

declare const conversationId: Id<"conversations">;
const client = createClient("https://example.org", { tabs: false });

export const list: Promise<Conversation[]> = client.query(api.conversations.list);
export const handle: MutationHandle<Id<"conversations">> = client.mutation(
  api.conversations.create, { title: "First" },
  { optimisticUpdate: (store, { title }) => void [store, title?.length] },
);
export const stop = client.subscribe(api.conversations.get, { conversationId }, (result) => {
  if (result.error) throw result.error;
  const first: Message | undefined = result.value?.messages[0];
  return first;
});
export const phase: "offline" | false = useConnectionState().phase === "offline" && "offline";
export const unsent: number = useOutbox().length;
const options = { initialNumItems: 5 };
export const rows: Message[] = usePaginatedQuery(api.messages.list, { conversationId }, options)
  .results;
const useList = create(liveQuery(client, api.conversations.list, {}));
export const titles: string[] | undefined = useList().value?.map((each) => each.title);
export const untyped: Promise<number> = client.query("counters:count", { name: "x" });

// @ts-expect-error: there is no such argument
client.query(api.conversations.list, { all: true });
// @ts-expect-error: an argument is missing
client.query(api.conversations.get);
// @ts-expect-error: a query is no mutation
client.mutation(api.conversations.list, {});
// @ts-expect-error: a title is text
client.mutation(api.conversations.create, { title: 1 });
// @ts-expect-error: it has no such field
client.subscribe(api.conversations.list, {}, ({ value }) => value?.[0]?.name);
// @ts-expect-error: an optimistic update is given the mutation's arguments
client.registerOptimisticUpdate(api.conversations.create, (_store, { name }) => name);
// @ts-expect-error: the client's hooks add paginationOpts themselves, and conversationId is missing
usePaginatedQuery(api.messages.list, {}, options);
// @ts-expect-error: text is no id
liveQuery(client, api.conversations.get, { conversationId: "x" });
"""
WRONG_HEAD = """
import { useMutation, useQuery } from "convex/react";
import { api } from "./api.js";
import type { Id } from "./dataModel.js";

declare const conversationId: Id<"conversations">;
declare const userId: Id<"users">;
"""


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the generated files, the packages of client_js, and its declarations."""
    find_node(CLIENT)
    project = tmp_path_factory.mktemp("project")
    registry = Registry.from_modules(["parley.chat", "parley.assistant", "tests.support.functions"])
    for name, text in generate(registry).items():
        (project / name).write_text(text)
    (project / "node_modules").symlink_to(CLIENT / "node_modules")
    (project / "package.json").write_text('{"type": "module"}')
    options = {
        "strict": True,
        "noEmit": True,
        "module": "nodenext",
        "target": "es2022",
        "jsx": "react-jsx",
        "skipLibCheck": True,
        "exactOptionalPropertyTypes": True,
        "allowJs": True,
        "types": [],
        "paths": {
            "parley-client": ["./parley-client/index.d.ts"],
            "parley-client/*": ["./parley-client/*.d.ts"],
        },
    }
    (project / "tsconfig.json").write_text(json.dumps({"compilerOptions": options}))
    emit = [TSC, "-p", str(CLIENT / "tsconfig.types.json")]
    subprocess.run([*emit, "--outDir", str(project / "parley-client")], check=True)
    return project


def compiled(project: Path, *names: str) -> str:
    """Return what tsc says of the files of a project."""
    config = json.loads((project / "tsconfig.json").read_text())
    (project / "tsconfig.some.json").write_text(json.dumps({**config, "files": list(names)}))
    command = [TSC, "--pretty", "false", "-p", "tsconfig.some.json"]
    return subprocess.run(command, cwd=project, capture_output=True, text=True).stdout


@pytest.mark.parametrize("react", [CONVEX, OWN])
def test_an_app_compiles_with_the_types(generated: Path, react: str) -> None:
    (generated / "right.ts").write_text(RIGHT.replace(CONVEX, react))

    assert compiled(generated, "right.ts", "api.d.ts", "dataModel.d.ts") == ""


@pytest.mark.parametrize("react", [CONVEX, OWN])
def test_every_wrong_call_is_an_error_of_its_own(generated: Path, react: str) -> None:
    names = [f"wrong{number}.ts" for number in range(len(WRONG))]
    head = WRONG_HEAD.replace(CONVEX, react)
    for name, call in zip(names, WRONG.values(), strict=True):
        (generated / name).write_text(f"{head}\nexport {{}};\n{call};\n")

    said = compiled(generated, *names)

    found = {line.partition("(")[0] for line in said.splitlines() if not line.startswith(" ")}
    accepted = [what for what, name in zip(WRONG, names, strict=True) if name not in found]
    assert accepted == []


@pytest.mark.parametrize("react", [CONVEX, OWN])
def test_the_hooks_of_the_seed_compile_with_the_types(generated: Path, react: str) -> None:
    hooks = HOOKS.read_text().replace(CONVEX, react)
    for name in ("api", "dataModel"):
        hooks = hooks.replace(f"../../convex/_generated/{name}", f"./{name}.js")
    (generated / "hooks.ts").write_text(hooks)

    assert compiled(generated, "hooks.ts") == ""


def test_our_client_knows_the_types_without_hooks(generated: Path) -> None:
    (generated / "own.ts").write_text(OWN_CLIENT)

    assert compiled(generated, "own.ts") == ""


def test_a_reference_names_its_function_to_either_client(generated: Path) -> None:
    script = """
    import { getFunctionName } from "convex/server";
    import { api } from "./api.js";
    const seen = [getFunctionName(api.conversations.addMessage), getFunctionName(api.a.b.c)];
    try { getFunctionName(api.conversations); } catch (error) { seen.push(error.message); }
    seen.push(api.messages.list[Symbol.for("functionName")], JSON.stringify({ ref: api.a.b }));
    console.log(JSON.stringify(seen));
    """
    command = [find_node(CLIENT), "--input-type=module", "-e", script]

    done = subprocess.run(command, cwd=generated, capture_output=True, text=True, check=True)

    assert json.loads(done.stdout) == [
        "conversations:addMessage",
        "a/b:c",
        "api.conversations is no function",
        "messages:list",
        '{"ref":{}}',
    ]
