/**
 * A conversation's tags, to add to and take from.
 *
 * @module
 */

import { useRef, useState } from "preact/hooks";
import { html } from "./html.js";
import { Icon } from "./icons.js";
import { InlineEdit } from "./inline-edit.js";
import { usePage } from "./page.js";

/** @import {Conversation} from "./types.js" */

/** @param {{conversation: Conversation, onPick: (tag: string) => void}} props `onPick` filters by it */
export function Tags({ conversation: { _id, tags }, onPick }) {
  const { actions } = usePage();
  const [isAdding, setAdding] = useState(false);
  const addButton = useRef(/** @type {HTMLButtonElement | null} */ (null));

  const endAdding = () => {
    setAdding(false);
    requestAnimationFrame(() => addButton.current?.focus());
  };
  /** @param {string} tag */
  const remove = (tag) => {
    actions.setTags(
      _id,
      tags.filter((each) => each !== tag),
    );
    addButton.current?.focus();
  };

  return html`<ul class="tags" aria-label="Tags">
    ${tags.map(
      (tag) => html`<li class="tag" key=${tag}>
        <button type="button" class="tag-name" title="Show all with this tag" onClick=${() => onPick(tag)}>${tag}</button>
        <button type="button" class="tag-remove" aria-label=${`Remove tag ${tag}`} onClick=${() => remove(tag)}>
          <${Icon} name="close" /></button>
      </li>`,
    )}
    <li>
      ${
        isAdding
          ? html`<${InlineEdit} label="New tag" text="" className="tag-edit" placeholder="tag, tag" maxLength=${80}
              onKeep=${(/** @type {string} */ text) => actions.setTags(_id, [...tags, ...text.split(",")])}
              onEnd=${endAdding} />`
          : html`<button type="button" class="tag-add" ref=${addButton} aria-label="Add tag"
              onClick=${() => setAdding(true)}><${Icon} name="tag" />${tags.length === 0 && "Add tag"}</button>`
      }
    </li>
  </ul>`;
}
