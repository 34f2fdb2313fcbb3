// SEED.md calls createConversation and addMessage without saying where they come from: they are
// those of useConvexConversations(), handed in here. The function itself is as it stands there.

import { useConvexConversations } from "@/hooks/use-convex-conversations";

type Mutations = ReturnType<typeof useConvexConversations>;

export function migration({ createConversation, addMessage }: Mutations) {
  // One-time migration of localStorage conversations to Convex
  async function migrateLocalStorageToConvex() {
    const localData = localStorage.getItem("siam-conversations");
    if (!localData) return;

    const { state } = JSON.parse(localData);
    const { conversations } = state;

    for (const conv of conversations) {
      // Create conversation in Convex
      const convexId = await createConversation({
        title: conv.title,
        model: conv.model,
      });

      // Add all messages
      for (const msg of conv.messages) {
        await addMessage({
          conversationId: convexId,
          role: msg.role,
          content: msg.content,
          citations: msg.citations,
          reasoningText: msg.reasoningText,
          tools: msg.tools,
        });
      }
    }

    // Clear localStorage after successful migration
    localStorage.removeItem("siam-conversations");
  }

  return migrateLocalStorageToConvex;
}
