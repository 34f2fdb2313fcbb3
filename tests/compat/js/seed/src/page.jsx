// A chat page around SEED.md's provider and hooks: the list, and one open conversation.

import { useConvexAuth } from "convex/react";
import { useState } from "react";
import { createRoot } from "react-dom/client";
import { ConvexClientProvider } from "@/components/providers/convex-provider";
import { useConversation, useConvexConversations } from "@/hooks/use-convex-conversations";
import { migration } from "@/lib/migrate";
import { createClient } from "@/lib/supabase/client";

function Page() {
  const { isAuthenticated } = useConvexAuth();
  const hooks = useConvexConversations();
  const [openId, setOpenId] = useState(null);
  const conversation = useConversation(openId);

  // What buttons would call.
  window.page = {
    create: hooks.createConversation,
    update: hooks.updateConversation,
    remove: hooks.deleteConversation,
    addMessage: hooks.addMessage,
    migrate: migration(hooks),
    open: setOpenId,
    signOut: () => createClient().auth.signOut(),
  };

  return (
    <main data-signed-in={isAuthenticated}>
      <ul>
        {hooks.conversations.map((each) => (
          <li key={each._id} data-id={each._id} data-pinned={each.isPinned} data-model={each.model}>
            <b>{each.title}</b>
            {each.tags.map((tag) => <i key={tag}>{tag}</i>)}
          </li>
        ))}
      </ul>
      {conversation && (
        <article>
          {conversation.messages.map((message) => (
            <section key={message._id} data-role={message.role}>
              <p>{message.content}</p>
              {message.reasoningText && <details>{message.reasoningText}</details>}
              {message.citations?.map((citation) => (
                <a key={citation.url} href={citation.url} title={citation.snippet}>
                  {citation.title}
                </a>
              ))}
              {message.tools?.map((tool) => (
                <code key={tool.name} title={tool.name}>
                  {JSON.stringify([tool.args, tool.result])}
                </code>
              ))}
            </section>
          ))}
        </article>
      )}
    </main>
  );
}

createRoot(document.getElementById("root")).render(
  <ConvexClientProvider>
    <Page />
  </ConvexClientProvider>,
);

// What a user sees.
const texts = (node, selector) =>
  [...node.querySelectorAll(selector)].map((found) => found.textContent);

window.visible = () => ({
  isSignedIn: document.querySelector("main").dataset.signedIn === "true",
  conversations: [...document.querySelectorAll("li")].map((item) => ({
    id: item.dataset.id,
    title: texts(item, "b")[0],
    isPinned: item.dataset.pinned === "true",
    model: item.dataset.model ?? null,
    tags: texts(item, "i"),
  })),
  messages: [...document.querySelectorAll("section")].map((item) => ({
    role: item.dataset.role,
    content: texts(item, "p")[0],
    reasoningText: texts(item, "details")[0] ?? null,
    citations: [...item.querySelectorAll("a")].map((a) => [a.textContent, a.href, a.title]),
    tools: [...item.querySelectorAll("code")].map((code) => [
      code.title,
      ...JSON.parse(code.textContent),
    ]),
  })),
});
