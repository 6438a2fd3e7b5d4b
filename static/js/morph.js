// hx-swap="morph": a live part is brought up to date in place. What has not changed stays the same element, and with
// it the focus, the selection, the scroll position, an open popover, an opened <details> and what a person typed.

// The server's content must not undo what a person changed in an element.
const TYPED = "input:not([type=hidden]), textarea, select, option";

function isThePersons(attribute, element) {
  if (attribute === "open") return element.localName === "details";
  return ["value", "checked", "selected"].includes(attribute) && element.matches(TYPED);
}

const same = (element, next) => [...next.attributes].every(({ name, value }) => element.getAttribute(name) === value);

const callbacks = {
  beforeAttributeUpdated: (attribute, element) => !isThePersons(attribute, element),
  beforeNodeMorphed(node, next) {
    if (node.nodeType !== Node.ELEMENT_NODE) return true;
    // app.js updates its text
    if (node.matches("time[data-relative]")) return node.dateTime !== next.dateTime || node.title !== next.title;
    return !node.matches("[data-equipped], [data-readout]"); // a module draws in it
  },
};

// A module draws once in an element, so changed data needs a new element.
function renewEquipped(target, fragment) {
  for (const element of target.querySelectorAll("[data-equipped][id]")) {
    const next = fragment.querySelector(`#${CSS.escape(element.id)}`);
    if (next && !same(element, next)) element.replaceWith(next.cloneNode(true));
  }
}

// Indentation between rows would match itself, and put aside the row in between: a row that is moved loses the
// selection in it. In these elements it is never drawn.
const WITHOUT_TEXT = "table, thead, tbody, tr, ul, ol, dl, svg, g, section, article";

function dropIndentation(root) {
  for (const parent of [root, ...root.querySelectorAll(WITHOUT_TEXT)]) {
    for (const node of [...parent.childNodes]) {
      if (node.nodeType === Node.TEXT_NODE && !node.data.trim()) node.remove();
    }
  }
}

// "morph-rows": of a list, only the rows that are in both are brought up to date.
function morphRows(target, fragment) {
  const changed = [];
  for (const next of fragment.querySelectorAll("[data-list] > [id]")) {
    const row = target.querySelector(`[data-list] > #${CSS.escape(next.id)}`);
    if (!row) continue;
    dropIndentation(row);
    dropIndentation(next);
    window.Idiomorph.morph(row, next, { morphStyle: "outerHTML", callbacks });
    changed.push(row);
  }
  return changed;
}

// For each morph, Idiomorph puts an element behind <body> and takes it away. If <body> were the last child without it,
// the browser would work out the style of the whole page anew, twice. So something is always there.
document.body.after(document.createElement("template"));

window.htmx.defineExtension("morph", {
  handleSwap(style, target, fragment) {
    if (style === "morph-rows") return morphRows(target, fragment);
    if (style !== "morph") return false;
    renewEquipped(target, fragment);
    dropIndentation(target);
    dropIndentation(fragment);
    window.Idiomorph.morph(target, [...fragment.childNodes], { morphStyle: "innerHTML", callbacks });
    return [target];
  },
});
