// Verifies a receipt in this browser, without trusting the console that served it.

import { Point, verifyAsync } from "../../vendor/noble-ed25519/index.js";
import { signedBytes } from "./canonical.js";
import { InvalidJson, parseStrict } from "./strict_json.js";

// Each key and signature has exactly one spelling, as in jatevo/wire/keys.py.
const KEY = /^ed25519:([A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=)$/;
const SIGNATURE = /^ed25519:([A-Za-z0-9+/]{85}[AQgw]==)$/;

const MOST_CHARACTERS = 200; // of a value that is shown

const bytesOf = (base64) => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0));
const hex = (bytes) => [...new Uint8Array(bytes)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
const count = (number) => number.toLocaleString("en-GB");
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
 * Returns the checks in order, each {name, ok, detail, compared}, where `compared` are pairs of what was compared and
 * its value. It is valid if all are ok, and the last is "Signature" then.
 */
export async function checkReceipt(bytes, keyText, expected = {}) {
  const checks = [];
  const check = (name, ok, holds, fails, compared) =>
    checks.push({ name, ok, detail: ok ? holds : `Failed: ${fails}`, compared });

  const digest = hex(await crypto.subtle.digest("SHA-256", bytes));
  const read = ["Read", `${count(bytes.length)} bytes`];
  if (expected.sha256) {
    check("Bytes", digest === expected.sha256, "The SHA-256 is the one on this page", "the SHA-256 differs from the one on this page", [
      ["Computed now", digest],
      ["On this page", expected.sha256],
    ]);
  } else {
    check("Bytes", true, "Read as they are", "", [read, ["SHA-256", digest]]);
  }

  let receipt;
  try {
    receipt = parseStrict(bytes);
  } catch (error) {
    if (!(error instanceof InvalidJson)) throw error;
    check("JSON", false, "", `this is not strict JSON: ${error.message}`, [read]);
    return checks;
  }
  const isObject = receipt instanceof Map;
  const members = isObject ? [read, ["Members", count(receipt.size)]] : [read];
  check("JSON", isObject, "Strict JSON without duplicate members", "this is JSON, but not an object", members);
  if (!isObject) return checks;

  for (const [name, label] of [["node_id", "Node"], ["request_id", "Request"]]) {
    if (!expected[name]) continue;
    const stated = receipt.get(name);
    const ok = stated === expected[name];
    check(label, ok, "The receipt names the one on this page", "the receipt names another than this page", [
      ["Named in the JSON", ok ? stated : shown(stated)],
      ["On this page", expected[name]],
    ]);
  }

  const statement = signedBytes(receipt);
  const signed = [
    ["Signed bytes", `${count(statement.length)} bytes`],
    ["Their SHA-256", hex(await crypto.subtle.digest("SHA-256", statement))],
  ];
  check("Canonical form", true, "RFC 8785, without the signature", "", signed);

  const key = KEY.exec(keyText);
  const usable = Boolean(key) && isUsableKey(bytesOf(key[1]));
  const malformed = "this key is not a canonical ed25519 point of the prime-order subgroup";
  check("Key", usable, "An ed25519 key that all verifiers treat alike", key ? malformed : "a public key is ed25519: and the base64 of 32 bytes", [
    ["Key", shortened(keyText) || "missing"],
  ]);
  const signature = receipt.get("signature");
  const spelled = typeof signature === "string" && SIGNATURE.exec(signature);
  const theirs = ["Signature", spelled ? signature : shown(signature)];
  if (!spelled) check("Signature", false, "", "`signature` must be ed25519: and the base64 of 64 bytes", [theirs]);
  if (!spelled || !usable) return checks;
  const { ok, by } = await verifySignature(bytesOf(spelled[1]), statement, bytesOf(key[1]));
  check("Signature", ok, "Verifies: ed25519 over these bytes", "the signature does not match this key and these bytes", [
    theirs,
    ["By the key", keyText],
    ["Verified by", by],
  ]);
  return checks;
}

/** A member of the receipt as JSON. It may be anything, of any length. */
function shown(value) {
  if (value === undefined) return "missing";
  return shortened(value instanceof Map || Array.isArray(value) ? "an object or a list" : JSON.stringify(value));
}

/** Text without characters that cannot be seen or turn its direction, and not too much of it. */
function shortened(text) {
  const spelled = text.replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (found) => `\\u{${found.codePointAt(0).toString(16)}}`);
  return spelled.length > MOST_CHARACTERS ? `${spelled.slice(0, MOST_CHARACTERS)}…` : spelled;
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
