// Verifies a receipt in this browser, without trusting the console that served it.

import { Point, verifyAsync } from "../../vendor/noble-ed25519/index.js";
import { signedBytes } from "./canonical.js";
import { InvalidJson, parseStrict } from "./strict_json.js";

// Each key and signature has exactly one spelling, as in jatevo/wire/keys.py.
const KEY = /^ed25519:([A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=)$/;
const SIGNATURE = /^ed25519:([A-Za-z0-9+/]{85}[AQgw]==)$/;

const bytesOf = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
const hex = (bytes) => [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const equal = (ours, theirs) => ours.length === theirs.length && ours.every((byte, place) => byte === theirs[place]);

/** Why this browser cannot verify anything, or "" if it can. */
export function cannotVerify() {
  return globalThis.crypto?.subtle
    ? ""
    : "This browser offers its cryptography only to pages that are served over HTTPS or from this machine.";
}

/**
 * Checks the exact bytes of a receipt against a public key, as text.
 *
 * `expected` may hold what the receipt must agree with: `sha256` (hex), `node_id`, `request_id`.
 * Returns the checks in order, each {name, ok, detail}. It is valid if all are ok, and the last is "Signature" then.
 */
export async function checkReceipt(bytes, keyText, expected = {}) {
  const checks = [];
  const check = (name, ok, holds, fails) => checks.push({ name, ok, detail: ok ? holds : fails });

  const digest = hex(await crypto.subtle.digest("SHA-256", bytes));
  if (expected.sha256) {
    check("Bytes", digest === expected.sha256, `SHA-256 ${digest}, as this page says`, `SHA-256 is ${digest}, and this page says ${expected.sha256}`);
  } else {
    check("Bytes", true, `${bytes.length.toLocaleString("en-GB")} bytes, SHA-256 ${digest}`);
  }

  let receipt;
  try {
    receipt = parseStrict(bytes);
  } catch (error) {
    if (!(error instanceof InvalidJson)) throw error;
    check("JSON", false, "", `This is not strict JSON: ${error.message}.`);
    return checks;
  }
  check("JSON", receipt instanceof Map, "Strict JSON without duplicate members", "This is JSON, but not an object.");
  if (!(receipt instanceof Map)) return checks;

  for (const name of ["node_id", "request_id"]) {
    if (!expected[name]) continue;
    const stated = JSON.stringify(receipt.get(name) ?? null);
    const label = name === "node_id" ? "Node" : "Request";
    check(label, receipt.get(name) === expected[name], `The receipt names ${expected[name]}`, `The receipt names ${stated} and not ${expected[name]}`);
  }

  const statement = signedBytes(receipt);
  const canonical = await crypto.subtle.digest("SHA-256", statement);
  check("Canonical form", true, `${statement.length.toLocaleString("en-GB")} bytes are signed (RFC 8785), SHA-256 ${hex(canonical)}`);

  const key = KEY.exec(keyText);
  const usable = Boolean(key) && isUsableKey(bytesOf(key[1]));
  const malformed = "This key is not a canonical ed25519 point of the prime-order subgroup.";
  check("Key", usable, keyText, key ? malformed : "A public key is ed25519: and the base64 of 32 bytes.");
  const signature = receipt.get("signature");
  const spelled = typeof signature === "string" && SIGNATURE.exec(signature);
  if (!spelled) check("Signature", false, "", "`signature` must be ed25519: and the base64 of 64 bytes.");
  if (!spelled || !usable) return checks;
  const { ok, by } = await verifySignature(bytesOf(spelled[1]), statement, bytesOf(key[1]));
  check("Signature", ok, `ed25519 over these bytes, verified by ${by}`, `The signature does not match this key and these bytes, says ${by}.`);
  return checks;
}

/** Whether the key is a canonical point of the prime-order subgroup. On other keys, verifiers may disagree. */
export function isUsableKey(bytes) {
  try {
    const point = Point.fromBytes(bytes);
    return !point.isSmallOrder() && point.isTorsionFree() && equal(point.toBytes(), bytes);
  } catch {
    return false;
  }
}

/** Whether the signature (64 bytes) of these bytes is by the key, which must be usable, and what verified it. */
export async function verifySignature(signature, statement, key) {
  let imported;
  try {
    imported = await crypto.subtle.importKey("raw", key, { name: "Ed25519" }, false, ["verify"]);
  } catch (error) {
    if (error.name !== "NotSupportedError") throw error;
    const ok = await verifyAsync(signature, statement, key, { zip215: false });
    return { ok, by: "noble-ed25519, since this browser’s own cryptography has no ed25519" };
  }
  const ok = await crypto.subtle.verify({ name: "Ed25519" }, imported, signature, statement);
  return { ok, by: "this browser’s own cryptography (WebCrypto)" };
}
