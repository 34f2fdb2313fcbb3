/**
 * The way in: a name in development mode, Supabase when it is configured, or no account at all.
 *
 * @module
 */

import { useState } from "preact/hooks";
import { SignInRefused } from "./gotrue.js";
import { html } from "./html.js";
import { Mark } from "./icons.js";
import { usePage } from "./page.js";

const DEFAULT_NAME = "alice";

/** @param {SubmitEvent} event */
function fieldsOf(event) {
  event.preventDefault();
  const data = new FormData(/** @type {HTMLFormElement} */ (event.currentTarget));
  return (/** @type {string} */ name) => String(data.get(name) ?? "").trim();
}

function DevelopmentForm() {
  const { session } = usePage();
  /** @param {SubmitEvent} event */
  const onSubmit = (event) => session.signInAs(fieldsOf(event)("name") || DEFAULT_NAME);
  return html`<form onSubmit=${onSubmit}>
    <label class="field">Your name
      <input name="name" defaultValue=${DEFAULT_NAME} maxlength="64" autocomplete="username"
        autocapitalize="none" spellcheck=${false} aria-describedby="development-note" /></label>
    <button type="submit" class="primary wide">Sign in</button>
    <p class="muted" id="development-note">Development mode: any name signs in, without a password. Use another
      name in another window to be somebody else.</p>
  </form>`;
}

function SupabaseForm() {
  const { session } = usePage();
  const [error, setError] = useState("");
  const [isBusy, setBusy] = useState(false);
  /** @param {SubmitEvent} event */
  const onSubmit = async (event) => {
    const field = fieldsOf(event);
    setBusy(true);
    setError("");
    try {
      await session.signIn(field("email"), field("password"));
    } catch (refusal) {
      setBusy(false);
      const isRefused = refusal instanceof SignInRefused;
      setError(isRefused ? refusal.message : "The sign-in service cannot be reached. Try again.");
    }
  };
  return html`<form onSubmit=${onSubmit}>
    <label class="field">E-mail address
      <input name="email" type="email" required autocomplete="username" /></label>
    <label class="field">Password
      <input name="password" type="password" required autocomplete="current-password" /></label>
    <p class="form-error" role="alert">${error}</p>
    <button type="submit" class="primary wide" disabled=${isBusy}>${isBusy ? "Signing in…" : "Sign in"}</button>
  </form>`;
}

export function SignIn() {
  const { config, session } = usePage();
  return html`<main class="sign-in">
    <div class="sign-in-card">
      <${Mark} />
      <h1>Parley</h1>
      <p class="lead">Conversations that are yours: on all your devices, and on this one without a connection too.</p>
      ${config.mode === "development" && html`<${DevelopmentForm} />`}
      ${config.mode === "supabase" && html`<${SupabaseForm} />`}
      ${config.mode === "none" && html`<p class="muted">This server has no way to sign in from here.</p>`}
      <p class="or"><span>or</span></p>
      <button type="button" class="wide" onClick=${() => session.beGuest()}>Use without an account</button>
      <p class="muted">Everything then stays on this device. You can sign in later and move it into your account.</p>
    </div>
  </main>`;
}
