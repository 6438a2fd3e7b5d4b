// The page /verify/: checks a receipt that is pasted, chosen or dropped. It sends nothing, and works offline.

import { cannotVerify, checkReceipt } from "./receipt.js";
import { showChecks, showProblem } from "./verdict.js";

const MOST_BYTES = 2 * 1024 * 1024;

export default function anyReceipt(form) {
  const { receipt: text, key, file } = form.elements;
  const result = document.getElementById("verdict");
  // The bytes of a file, as long as the text shown is theirs: a text field would change line ends and a byte order mark.
  let exact = null;
  // Counts what the reader does. Whatever was begun before the last of it is not shown any more.
  let latest = 0;

  /** Takes back what is shown, since it is about something else from now on. Returns a test whether that still holds. */
  function begin() {
    const mine = (latest += 1);
    result.replaceChildren();
    return () => mine === latest;
  }

  async function open(chosen) {
    if (!chosen) return;
    const current = begin();
    if (chosen.size > MOST_BYTES) return showProblem(result, "This file is too large to be a receipt.");
    try {
      const bytes = new Uint8Array(await chosen.arrayBuffer());
      if (!current()) return;
      exact = bytes;
      text.value = new TextDecoder().decode(bytes);
    } catch {
      if (current()) showProblem(result, "The file could not be read. If it has changed, choose it again.");
    }
  }

  form.addEventListener("input", begin);
  text.addEventListener("input", () => (exact = null));
  file.addEventListener("click", () => (file.value = "")); // the same file may be chosen again
  file.addEventListener("change", () => open(file.files[0]));
  form.addEventListener("dragover", (event) => {
    event.preventDefault();
    form.dataset.over = "";
  });
  form.addEventListener("dragleave", () => delete form.dataset.over);
  form.addEventListener("drop", (event) => {
    event.preventDefault();
    delete form.dataset.over;
    open(event.dataTransfer.files[0]);
  });
  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const current = begin();
    try {
      const problem = cannotVerify();
      if (problem) return showProblem(result, problem);
      const bytes = exact ?? new TextEncoder().encode(text.value.trim());
      if (!bytes.length) return showProblem(result, "Paste a receipt, or choose its file.");
      const checks = await checkReceipt(bytes, key.value.trim());
      if (!current()) return;
      showChecks(result, checks, {
        valid: "Valid: whoever holds this key signed this receipt.",
        invalid: "Not valid.",
      });
    } catch (error) {
      if (current()) showProblem(result, `The receipt could not be checked: ${error.message}`);
    }
  });
  form.querySelector("button").disabled = false; // a click before this would send the form
}
