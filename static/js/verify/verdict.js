// Shows checks as the page's own panel of checks does: each with its outcome, and a table of what was compared. The page
// holds a template for a passed check and for a failed one.

/** Fills `host` with the verdict: a sentence, and each check. */
export function showChecks(host, checks, { valid, invalid }) {
  const ok = checks.length > 0 && checks.every((check) => check.ok);
  const list = document.createElement("ul");
  list.className = "checks divide-y divide-stroke";
  list.append(...checks.map((check) => checkItem(host, check)));
  host.replaceChildren(sentence(ok ? valid : invalid, ok ? "tone-ok" : "tone-bad"), list);
  return ok;
}

/** Fills `host` with a sentence that says why nothing was checked. */
export function showProblem(host, text) {
  host.replaceChildren(sentence(text, "tone-warn"));
}

function sentence(text, tone) {
  const line = document.createElement("p");
  line.className = `${tone} tone-text py-2 font-semibold`;
  line.textContent = text;
  return line;
}

function checkItem(host, { name, ok, detail, compared }) {
  const template = document.getElementById(`${host.dataset.templates}-${ok ? "done" : "failed"}`);
  const item = template.content.firstElementChild.cloneNode(true);
  item.querySelector("[data-check-label]").textContent = name;
  const outcome = item.querySelector("[data-check-detail]");
  outcome.textContent = detail;
  const table = document.createElement("dl");
  table.className = "compared";
  table.append(
    ...compared.flatMap(([what, value]) => [
      Object.assign(document.createElement("dt"), { textContent: what }),
      Object.assign(document.createElement("dd"), { textContent: value }),
    ]),
  );
  outcome.after(table);
  return item;
}
