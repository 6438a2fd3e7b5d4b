// Strict JSON, as jatevo/web/strict_json.py reads it: text that different parsers could read differently is refused.
// Objects are read into Maps, because a plain object would order integer-like names and lose "__proto__".

export class InvalidJson extends Error {}

const MAX_DEPTH = 32;
const SPACE = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]+)?/y;
// eslint-disable-next-line no-control-regex
const STRING = /"(?:[^"\\\u0000-\u001f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"/y;
const WORDS = new Map([["true", true], ["false", false], ["null", null]]);

/** The value of UTF-8 bytes. Objects are Maps. Throws InvalidJson, whose message says why. */
export function parseStrict(bytes) {
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new InvalidJson("it is not UTF-8");
  }
  return new Reader(text).document();
}

class Reader {
  constructor(text) {
    this.text = text;
    this.at = 0;
  }

  document() {
    const value = this.value(1);
    this.space();
    if (this.at < this.text.length) this.fail("there is more after its end");
    return value;
  }

  value(depth) {
    this.space();
    const mark = this.text[this.at];
    if (mark === "{" || mark === "[") {
      if (depth > MAX_DEPTH) throw new InvalidJson(`it is nested deeper than ${MAX_DEPTH}`);
      return mark === "{" ? this.object(depth) : this.list(depth);
    }
    if (mark === '"') return this.string();
    for (const [word, value] of WORDS) {
      if (this.text.startsWith(word, this.at)) {
        this.at += word.length;
        return value;
      }
    }
    return this.number();
  }

  object(depth) {
    const members = new Map();
    this.items("}", () => {
      this.space();
      const name = this.string();
      if (members.has(name)) throw new InvalidJson(`it names the member ${JSON.stringify(name)} twice`);
      this.space();
      this.take(":");
      members.set(name, this.value(depth + 1));
    });
    return members;
  }

  list(depth) {
    const values = [];
    this.items("]", () => values.push(this.value(depth + 1)));
    return values;
  }

  items(end, one) {
    this.at += 1;
    this.space();
    if (this.text[this.at] === end) {
      this.at += 1;
      return;
    }
    for (;;) {
      one();
      this.space();
      if (this.text[this.at] === end) break;
      this.take(",");
    }
    this.at += 1;
  }

  string() {
    const value = JSON.parse(this.match(STRING)[0]);
    if (!value.isWellFormed()) throw new InvalidJson("a string holds half of a surrogate pair");
    if (value.includes("\u0000")) throw new InvalidJson("a string holds U+0000");
    return value;
  }

  number() {
    const [literal, fraction, exponent] = this.match(NUMBER);
    const value = Number(literal);
    if (!Number.isFinite(value)) throw new InvalidJson("a number is beyond what a double can hold");
    if (!fraction && !exponent && !Number.isSafeInteger(value)) throw new InvalidJson("an integer is beyond 2^53-1");
    return value;
  }

  match(pattern) {
    pattern.lastIndex = this.at;
    const found = pattern.exec(this.text);
    if (!found) this.fail(`character ${this.at + 1} is unexpected`);
    this.at = pattern.lastIndex;
    return found;
  }

  space() {
    this.match(SPACE);
  }

  take(mark) {
    if (this.text[this.at] !== mark) this.fail(`character ${this.at + 1} is unexpected`);
    this.at += 1;
  }

  fail(why) {
    throw new InvalidJson(this.at >= this.text.length ? "it ends too early" : why);
  }
}
