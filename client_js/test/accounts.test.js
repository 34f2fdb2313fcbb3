import assert from "node:assert/strict";
import { test } from "node:test";
import {
  databaseName,
  forgetAccount,
  lastAccount,
  registryName,
  rememberAccount,
} from "../src/accounts.js";
import { DEVICES } from "./support/stores.js";

const makeDevice = DEVICES["fake-indexeddb"] ?? assert.fail();
const URL = "https://chat.example";

test("every account of every deployment has a database of its own", () => {
  const names = [
    registryName(URL),
    databaseName(URL, "guest"),
    databaseName(URL, "anonymous"),
    databaseName(URL, "https://issuer|alice"),
    databaseName("https://other.example", "guest"),
  ];

  assert.equal(new Set(names).size, names.length);
});

test("a slash at the end of the address makes no other database", () => {
  assert.equal(databaseName(`${URL}/`, "guest"), databaseName(URL, "guest"));
});

test("who was here last is known after a restart", async () => {
  const device = makeDevice();
  const registry = await device.open(registryName(URL));
  assert.equal(await lastAccount(registry), null);
  await rememberAccount(registry, "alice");
  await rememberAccount(registry, "bob");
  registry.close();

  assert.equal(await lastAccount(await device.open(registryName(URL))), "bob");
});

test("who logs out is forgotten, but not who came after", async () => {
  const registry = await makeDevice().open(registryName(URL));
  await rememberAccount(registry, "bob");

  await forgetAccount(registry, "alice");
  assert.equal(await lastAccount(registry), "bob");

  await forgetAccount(registry, "bob");
  assert.equal(await lastAccount(registry), null);
});
