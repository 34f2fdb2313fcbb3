/**
 * What can be done with a conversation.
 *
 * @module
 */

import { html } from "./html.js";
import { Menu } from "./menu.js";
import { usePage } from "./page.js";

/** @import {Conversation} from "./types.js" */

/** @param {{conversation: Conversation, onRename: () => void}} props */
export function ConversationMenu({ conversation, onRename }) {
  const { actions } = usePage();
  const items = [
    {
      label: conversation.isPinned ? "Unpin" : "Pin",
      icon: "pin",
      run: () => actions.togglePin(conversation),
    },
    { label: "Rename", icon: "pencil", run: onRename },
    {
      label: "Delete",
      icon: "trash",
      isDangerous: true,
      run: () => actions.remove(conversation),
    },
  ];
  return html`<${Menu} label=${`Actions for ${conversation.title}`} items=${items} />`;
}
