/**
 * What belongs to whom on this device: the names of databases, and who was here last.
 *
 * @module
 */

/** @import {Account} from "./types.js" */
/** @import {Store} from "./storage/store.js" */

/**
 * Returns the name of the database of an account on a deployment.
 *
 * @param {string} url of the deployment
 * @param {Account} account
 */
export const databaseName = (url, account) => `${registryName(url)} ${account}`;

/**
 * Returns the name of the database that knows who was last here.
 *
 * @param {string} url of the deployment
 */
export const registryName = (url) => `parley:${url.replace(/\/+$/, "")}`;

/**
 * Returns whose data may be shown until it is known who is here; null if nobody's.
 *
 * @param {Store} registry
 * @returns {Promise<Account | null>}
 */
export async function lastAccount(registry) {
  return (await registry.read(["meta"], (tx) => tx.get("meta", "lastAccount"))) ?? null;
}

/**
 * @param {Store} registry
 * @param {Account | null} account null: nobody
 */
export async function rememberAccount(registry, account) {
  await registry.write(["meta"], (tx) => tx.put("meta", "lastAccount", account));
}

/**
 * Forgets who was here last, unless it was somebody else than `account`.
 *
 * @param {Store} registry
 * @param {Account} account
 */
export async function forgetAccount(registry, account) {
  await registry.write(["meta"], async (tx) => {
    if ((await tx.get("meta", "lastAccount")) === account) await tx.delete("meta", "lastAccount");
  });
}
