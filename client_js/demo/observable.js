/**
 * A value that components follow.
 *
 * @module
 */

import { useEffect, useState, useSyncExternalStore } from "preact/compat";

/** @template T */
export class Observable {
  #value;
  /** @type {Set<() => void>} */
  #listeners = new Set();

  /** @param {T} value */
  constructor(value) {
    this.#value = value;
  }

  get = () => this.#value;

  /** @param {T} value */
  set = (value) => {
    if (Object.is(value, this.#value)) return;
    this.#value = value;
    for (const listener of [...this.#listeners]) listener();
  };

  /**
   * @param {() => void} listener
   * @returns {() => void} removes it
   */
  subscribe = (listener) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };
}

/**
 * @template T
 * @param {Observable<T>} observable
 * @returns {T}
 */
export const useObserved = (observable) =>
  useSyncExternalStore(observable.subscribe, observable.get);

/**
 * Returns the time, anew every `everyMs` while `everyMs` is not null.
 *
 * @param {number | null} everyMs
 */
export function useNow(everyMs) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (everyMs === null) return;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [everyMs]);
  return now;
}
