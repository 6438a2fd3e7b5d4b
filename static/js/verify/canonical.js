// The bytes that a receipt's signature covers: RFC 8785 (JCS) without the `signature` member.

/** The UTF-8 bytes that are signed, of a receipt that `parseStrict` read. */
export function signedBytes(receipt) {
  return new TextEncoder().encode(canonical(new Map([...receipt].filter(([name]) => name !== "signature"))));
}

// RFC 8785 takes over ECMAScript's numbers and strings, so JSON.stringify writes them. Names are sorted by UTF-16 code
// units, which is how JavaScript compares strings.
function canonical(value) {
  if (value instanceof Map) {
    const names = [...value.keys()].sort();
    return `{${names.map((name) => `${JSON.stringify(name)}:${canonical(value.get(name))}`).join(",")}}`;
  }
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  return JSON.stringify(value);
}
