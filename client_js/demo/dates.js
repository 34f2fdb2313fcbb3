/**
 * Times as people say them, in the browser's language. Pure.
 *
 * @module
 */

const DAY_MS = 86_400_000;

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });
const weekday = new Intl.DateTimeFormat(undefined, { weekday: "short" });
const dayOfYear = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "short" });
const longDay = new Intl.DateTimeFormat(undefined, {
  weekday: "long",
  day: "numeric",
  month: "long",
  year: "numeric",
});
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "long", timeStyle: "short" });

/** Days between two local midnights: not a count of 24 hours. @param {number} at @param {number} now */
function daysAgo(at, now) {
  const midnight = (/** @type {number} */ ms) => new Date(ms).setHours(0, 0, 0, 0);
  return Math.round((midnight(now) - midnight(at)) / DAY_MS);
}

/** @param {number} at */
export const clockTime = (at) => clock.format(at);

/** @param {number} at */
export const wholeTime = (at) => whole.format(at);

/** Returns a short time for a list: today the hour, then the weekday, then the day. @param {number} at @param {number} now */
export function shortTime(at, now) {
  const days = daysAgo(at, now);
  if (days <= 0) return clock.format(at);
  return days < 7 ? weekday.format(at) : dayOfYear.format(at);
}

/** Returns the heading of a day in a conversation. @param {number} at @param {number} now */
export function dayTitle(at, now) {
  const days = daysAgo(at, now);
  if (days <= 0) return "Today";
  return days === 1 ? "Yesterday" : longDay.format(at);
}

/** Returns the heading of a part of the list. @param {number} at @param {number} now */
export function ageTitle(at, now) {
  const days = daysAgo(at, now);
  if (days <= 0) return "Today";
  if (days === 1) return "Yesterday";
  if (days <= 7) return "Last 7 days";
  return days <= 30 ? "Last 30 days" : "Older";
}
