import assert from "node:assert/strict";
import { test } from "node:test";
import { ageTitle, clockTime, dayTitle, shortTime } from "../../demo/dates.js";

/** @param {number} day of June 2026 @param {number} hour */
const at = (day, hour) => new Date(2026, 5, day, hour, 30).getTime();

test("a day begins at midnight, not 24 hours ago", () => {
  assert.equal(dayTitle(at(14, 23), at(15, 0)), "Yesterday");
  assert.equal(dayTitle(at(15, 0), at(15, 23)), "Today");
});

test("a clock that is ahead makes nothing older or newer than today", () => {
  assert.equal(dayTitle(at(16, 1), at(15, 23)), "Today");
  assert.equal(ageTitle(at(16, 1), at(15, 23)), "Today");
  assert.equal(shortTime(at(16, 1), at(15, 23)), clockTime(at(16, 1)));
});

test("the list says the hour today, and days before", () => {
  const now = at(15, 12);

  const said = [at(15, 9), at(12, 9), at(1, 9)].map((time) => shortTime(time, now));

  assert.equal(said[0], clockTime(at(15, 9)));
  assert.equal(new Set(said).size, 3);
});
