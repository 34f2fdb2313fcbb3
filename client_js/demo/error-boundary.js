/**
 * Keeps what breaks from breaking what is around it.
 *
 * @module
 */

import { Component } from "preact";

/** @import {ComponentChildren} from "preact" */

/**
 * Shows `fallback` instead of children that throw, until `resetKey` changes.
 *
 * @typedef {object} Props
 * @property {(error: Error, retry: () => void) => ComponentChildren} fallback
 * @property {unknown} [resetKey]
 * @property {ComponentChildren} [children]
 *
 * @extends {Component<Props, {error: Error | null}>}
 */
export class ErrorBoundary extends Component {
  /**
   * @override
   * @type {{error: Error | null}}
   */
  state = { error: null };

  /**
   * @override
   * @param {Error} error
   */
  static getDerivedStateFromError(error) {
    return { error };
  }

  /**
   * @override
   * @param {Props} before
   */
  componentDidUpdate(before) {
    if (this.state.error && before.resetKey !== this.props.resetKey) this.setState({ error: null });
  }

  /** @override */
  render() {
    const { error } = this.state;
    if (!error) return this.props.children;
    return this.props.fallback(error, () => this.setState({ error: null }));
  }
}
