/**
 * Ids that a client makes by itself: UUIDs of version 7, whose first 48 bits are a time in ms.
 *
 * @module
 */

const MAX_MS = 2 ** 48 - 1;
const RANDOM_BITS = 74n;

/** @type {ReturnType<typeof constants> | undefined} */
let known;
let lastMs = 0;
let lastRandom = 0n;

/**
 * Makes a new id, greater than all before it in this tab, as text too.
 *
 * @returns {string}
 */
export function newId() {
  const ms = Date.now();
  const words = crypto.getRandomValues(new Uint32Array(3));
  const [low = 0, middle = 0, high = 0] = words;
  if (ms > lastMs) {
    lastMs = ms;
    // The highest bit stays free, so that counting up never runs over.
    lastRandom = (BigInt(high & 0x1ff) << 64n) | (BigInt(middle) << 32n) | BigInt(low);
  } else {
    lastRandom += 1n + BigInt(low);
  }
  return toText(lastMs, lastRandom);
}

/**
 * Makes the id that belongs to a text: the same on every device, every time.
 *
 * @param {number} ms since the epoch, 0 to 2**48 - 1; what is outside is brought within
 * @param {string} text
 * @returns {string}
 */
export function idFrom(ms, text) {
  const [a = 0, b = 0, c = 0] = sha256(new TextEncoder().encode(text));
  const random = (BigInt(a) << 64n) | (BigInt(b) << 32n) | BigInt(c);
  const time = Number.isFinite(ms) ? Math.min(Math.max(Math.trunc(ms), 0), MAX_MS) : 0;
  return toText(time, random & ((1n << RANDOM_BITS) - 1n));
}

/**
 * @param {number} ms
 * @param {bigint} random 74 bits
 */
function toText(ms, random) {
  const [first, rest] = [random >> 62n, random & ((1n << 62n) - 1n)];
  const value = (BigInt(ms) << 80n) | (7n << 76n) | (first << 64n) | (2n << 62n) | rest;
  const hex = value.toString(16).padStart(32, "0");
  return hex.replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
}

// The browser's own digest is not there on pages without https, and makes its callers wait.
/**
 * SHA-256 as FIPS 180-4 has it.
 *
 * @param {Uint8Array} bytes
 * @returns {Uint32Array} 8 words
 */
function sha256(bytes) {
  known ??= constants();
  const { start, round } = known;
  const size = Math.ceil((bytes.length + 9) / 64) * 64;
  const padded = new DataView(new ArrayBuffer(size));
  for (const [index, byte] of bytes.entries()) padded.setUint8(index, byte);
  padded.setUint8(bytes.length, 0x80);
  padded.setBigUint64(size - 8, BigInt(bytes.length) * 8n);
  const hash = Uint32Array.from(start);
  const w = new Uint32Array(64);
  for (let offset = 0; offset < size; offset += 64) {
    for (let t = 0; t < 64; t++) w[t] = t < 16 ? padded.getUint32(offset + t * 4) : schedule(w, t);
    compress(hash, w, round);
  }
  return hash;
}

/** @param {number} x @param {number} n */
const rotate = (x, n) => (x >>> n) | (x << (32 - n));

/** @param {Uint32Array} w @param {number} t */
function schedule(w, t) {
  const [x = 0, y = 0] = [w[t - 15], w[t - 2]];
  const s0 = rotate(x, 7) ^ rotate(x, 18) ^ (x >>> 3);
  const s1 = rotate(y, 17) ^ rotate(y, 19) ^ (y >>> 10);
  return (w[t - 16] ?? 0) + s0 + (w[t - 7] ?? 0) + s1;
}

/** @param {Uint32Array} hash @param {Uint32Array} w @param {Uint32Array} round */
function compress(hash, w, round) {
  let [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0, g = 0, h = 0] = hash;
  for (let t = 0; t < 64; t++) {
    const s1 = rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25);
    const t1 = (h + s1 + ((e & f) ^ (~e & g)) + (round[t] ?? 0) + (w[t] ?? 0)) | 0;
    const s0 = rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22);
    const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
    [h, g, f, e, d, c, b, a] = [g, f, e, (d + t1) | 0, c, b, a, (t1 + t2) | 0];
  }
  for (const [index, word] of [a, b, c, d, e, f, g, h].entries()) {
    hash[index] = (hash[index] ?? 0) + word;
  }
}

// The first 32 bits behind the point of the roots of the first primes: square roots of 8 to start
// with, cube roots of 64 for the rounds. Doubles have 52, so both are exact.
function constants() {
  /** @type {number[]} */
  const primes = [];
  for (let n = 2; primes.length < 64; n++) if (primes.every((prime) => n % prime)) primes.push(n);
  const fraction = (/** @type {number} */ x) => Math.floor((x - Math.floor(x)) * 2 ** 32);
  return {
    start: Uint32Array.from(primes.slice(0, 8), (prime) => fraction(Math.sqrt(prime))),
    round: Uint32Array.from(primes, (prime) => fraction(Math.cbrt(prime))),
  };
}
