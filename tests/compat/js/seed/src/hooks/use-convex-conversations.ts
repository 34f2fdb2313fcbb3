"use client";

import { useQuery, useMutation } from "convex/react";
import { api } from "../../convex/_generated/api";
import { Id } from "../../convex/_generated/dataModel";

export function useConvexConversations() {
  // Real-time conversation list
  const conversations = useQuery(api.conversations.list) ?? [];

  // Mutations
  const createConversation = useMutation(api.conversations.create);
  const updateConversation = useMutation(api.conversations.update);
  const deleteConversation = useMutation(api.conversations.remove);
  const addMessage = useMutation(api.conversations.addMessage);

  return {
    conversations,
    createConversation,
    updateConversation,
    deleteConversation,
    addMessage,
  };
}

export function useConversation(conversationId: Id<"conversations"> | null) {
  const conversation = useQuery(
    api.conversations.get,
    conversationId ? { conversationId } : "skip"
  );

  return conversation;
}
