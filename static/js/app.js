// Themes, keyboard shortcuts, copying, relative times, polling and drawers. Pages also work without JavaScript.

import { wantsAll } from "./held.js";
import { walk } from "./walk.js";

const root = document.documentElement;
root.dataset.js = "";

const announce = (text) => {
  document.getElementById("announcer").textContent = text;
};

// --- Theme: dark, light, system. The cookie lets the server render the right one, so that pages do not flash.

const THEMES = ["dark", "light", "system"];

function setTheme(theme) {
  root.dataset.theme = theme;
  localStorage.setItem("theme", theme);
  const secure = location.protocol === "https:" ? "; secure" : "";
  document.cookie = `theme=${theme}; path=/; max-age=31536000; samesite=lax${secure}`;
  for (const button of document.querySelectorAll("[data-theme-toggle]")) {
    button.title = `Theme: ${theme}`;
    button.setAttribute("aria-label", button.title);
  }
}

const remembered = localStorage.getItem("theme");
if (THEMES.includes(remembered) && remembered !== root.dataset.theme) setTheme(remembered);

// --- Clicks: one listener, which also covers controls that are added later.

async function copy(button) {
  const target = button.dataset.copyTarget;
  const text = target ? document.getElementById(target).textContent : button.dataset.copy;
  const label = button.querySelector("[data-copy-label]");
  const before = (label.dataset.before ??= label.textContent);
  try {
    await navigator.clipboard.writeText(text);
    label.textContent = "Copied";
  } catch {
    label.textContent = "Press Ctrl+C";
    const source = target && document.getElementById(target);
    if (source) getSelection().selectAllChildren(source);
  }
  announce(label.textContent);
  setTimeout(() => (label.textContent = before), 2000);
}

// With Ctrl, Cmd, Shift or Alt, the browser follows a link itself, in a new tab or window, and not htmx.
document.addEventListener(
  "click",
  (event) => {
    const modified = event.ctrlKey || event.metaKey || event.shiftKey || event.altKey || event.button;
    if (modified && event.target.closest("a[hx-get]")) event.stopImmediatePropagation();
  },
  { capture: true },
);

document.addEventListener("click", (event) => {
  const hit = (selector) => event.target.closest(selector);
  if (hit("[data-theme-toggle]")) setTheme(THEMES[(THEMES.indexOf(root.dataset.theme) + 1) % THEMES.length]);
  else if (hit("[data-copy], [data-copy-target]")) copy(hit("[data-copy], [data-copy-target]"));
  else if (hit("[data-toast-close]")) hit("[data-toast]").remove();
  else if (hit("[data-drawer-close]") || event.target === drawer) drawer.close();
  for (const menu of document.querySelectorAll("details[data-menu][open]")) {
    if (!menu.contains(event.target)) menu.open = false;
  }
});

// A filter form is submitted when a choice changes. Its button is for use without JavaScript.
document.addEventListener("change", (event) => {
  if (event.target.matches("[data-check-all]")) {
    for (const box of event.target.form.querySelectorAll("[data-pick]")) box.checked = event.target.checked;
  }
  const form = event.target.closest("form[data-autosubmit]");
  if (form && event.target.matches("select, [type=checkbox], [type=radio], [type=date]")) form.requestSubmit();
});

// The second click of a double click does not send a form again: its answer would say that there was nothing to do.
const sentAt = new WeakMap();
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (event.defaultPrevented || form.getAttribute("method") !== "post") return;
  if (Date.now() - (sentAt.get(form) ?? 0) < 1500) event.preventDefault();
  else sentAt.set(form, Date.now());
});

// A search that runs while it is typed: the address changes with it, but Back does not go letter by letter. What is
// typed while an answer comes is kept, and searched for next.
let typed = null;
document.addEventListener("htmx:beforeHistoryUpdate", ({ detail }) => {
  if (triggerOf(detail)?.type === "input" || detail.history.path === here()) detail.history.type = "replace";
});
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  const field = document.activeElement;
  const { id, name, value, selectionStart, selectionEnd } = field;
  const within = field.matches("input[data-search]") && detail.target.contains(field);
  typed = within ? { id, value, caret: [selectionStart, selectionEnd], sent: detail.requestConfig.formData.get(name) ?? value } : null;
});
document.addEventListener("htmx:afterSwap", () => {
  const field = typed && document.getElementById(typed.id);
  if (!field) return;
  field.value = typed.value;
  field.setSelectionRange(...typed.caret);
});
document.addEventListener("htmx:afterSettle", () => {
  const { id, value, sent } = typed ?? {};
  typed = null;
  if (value !== sent) document.getElementById(id)?.dispatchEvent(new Event("input", { bubbles: true }));
});

// --- Keys: / to search, j and k in a list, Enter opens (rows are links), g and a letter to a page, Escape closes, or
// leaves the list.

let going = 0; // when g was last pressed

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "Escape") {
    for (const menu of document.querySelectorAll("details[data-menu][open]")) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
    if (!drawer.open && document.activeElement.closest("[data-list] > *")) document.activeElement.blur();
    return;
  }
  if (event.target.closest("input, textarea, select, [contenteditable]")) return;
  if (event.key === "/") {
    const search = document.querySelector("[data-search]");
    if (!search || drawer.open) return;
    event.preventDefault();
    search.focus();
    search.select();
  } else if (Date.now() - going < 1500) {
    going = 0;
    document.querySelector(`[data-key="${CSS.escape(event.key)}"]`)?.click();
  } else if (event.key === "g") {
    going = Date.now();
  } else if (event.key === "j" || event.key === "k") {
    walk(event.key === "j" ? 1 : -1, () => ({ drawer, opener, show: showInDrawer }));
  }
});

// --- A page that answers a form names a URL with the same content, so that a reload does not submit again.

const address = document.querySelector("[data-address]")?.dataset.address;
if (address) history.replaceState(null, "", address);

// --- Times: the words of `ago()` in jatevo/web/templatetags/moments.py, kept fresh.

const STEPS = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];

function relative(moment, now) {
  const seconds = Math.trunc((now - moment) / 1000);
  const amount = Math.abs(seconds);
  const step = STEPS.find(([, length]) => amount >= length);
  if (!step) return "now";
  const words = `${Math.floor(amount / step[1])} ${step[0]}`;
  return seconds > 0 ? `${words} ago` : `in ${words}`;
}

// Times are relative to the server's clock. The page has the server's time at the start of the response.
const answered = performance.timeOrigin + (performance.getEntriesByType("navigation")[0]?.responseStart ?? 0);
const serverNow = Number(document.body.dataset.now) * 1000;
const clockAhead = serverNow && Math.abs(serverNow - answered) > 2000 ? serverNow - answered : 0;

function refreshTimes() {
  const now = Date.now() + clockAhead;
  const changes = [];
  for (const time of document.querySelectorAll("time[data-relative]")) {
    const words = relative(Date.parse(time.dateTime), now);
    if (time.textContent !== words) changes.push([time, words]);
  }
  // Asking the selection anything has the browser lay out the page, so it is asked last, and not between changes.
  if (!changes.length) return;
  const selection = getSelection();
  const selected = selection.isCollapsed ? () => false : (time) => selection.containsNode(time, true);
  const allowed = changes.filter(([time]) => !selected(time)); // new words would end the selection
  for (const [time, words] of allowed) time.textContent = words;
}

// --- The time zone: suggests the browser's zone, and the person decides.

const browserZone = document.querySelector("[data-browser-zone]");
if (browserZone) {
  const select = document.getElementById(browserZone.dataset.browserZone);
  const { timeZone } = Intl.DateTimeFormat().resolvedOptions();
  browserZone.hidden = ![...select.options].some((option) => option.value === timeZone);
  browserZone.textContent = `Use this browser’s: ${timeZone}`;
  browserZone.addEventListener("click", () => {
    select.value = timeZone;
    select.form.requestSubmit();
  });
}

// --- Polling: a {% live_part %} (data-poll-seconds, hx-trigger="refresh") is asked to refresh itself while the page
// is in sight. Unchanged content answers 304 and nothing is touched; morph.js leaves alone what has not changed.

const due = new WeakMap();
const failures = new WeakMap(); // how many answers in a row were errors
const etags = new Map();
let signedOut = false;

const TICK_MS = 500;

function poll() {
  if (document.hidden) return;
  refreshTimes();
  if (signedOut) return;
  const now = Date.now();
  for (const element of document.querySelectorAll("[data-poll-seconds]")) {
    if (!due.has(element)) due.set(element, "loads" in element.dataset ? now : now + intervalOf(element));
    // half a tick of grace: timers come a little early or late, and a missed tick would be a whole one
    if (due.get(element) > now + TICK_MS / 2 || element.classList.contains("htmx-request")) continue;
    // Does not refresh while nodes are being selected or a chart is being read.
    if (element.querySelector("[data-pick]:checked, [data-reading]:focus-visible, [data-reading]:active")) continue;
    due.set(element, now + intervalOf(element));
    htmx.trigger(element, "refresh");
  }
}
setInterval(poll, TICK_MS);
document.addEventListener("visibilitychange", poll);
document.addEventListener("htmx:load", poll); // the page, and what a click brought: a part in it may be due at once

// After errors a part asks less often, at least once a minute; or when the server says, if it says so: an outage is
// over within seconds, and so is the note of it.
// A part that could not say yet what it is asked for names a shorter time.
const intervalOf = (element) => {
  const seconds = element.querySelector("[data-again-seconds]")?.dataset.againSeconds ?? element.dataset.pollSeconds;
  return Math.min(Number(seconds) * 1000 * 2 ** (failures.get(element) ?? 0), 60_000);
};

const triggerOf = (detail) => (detail.requestConfig ?? detail).triggeringEvent;
const isPoll = (detail) =>
  detail.elt.matches("[data-poll-seconds]") && triggerOf(detail)?.type === "refresh";
const pollKey = (detail) => `${detail.elt.id} ${(detail.requestConfig ?? detail).path}`;

document.addEventListener("htmx:configRequest", ({ detail }) => {
  const etag = isPoll(detail) && !wantsAll(detail.elt) && etags.get(pollKey(detail));
  if (etag) detail.headers["If-None-Match"] = etag;
});
document.addEventListener("htmx:afterRequest", ({ detail }) => {
  if (!isPoll(detail)) return;
  if (detail.successful && !failures.has(detail.elt)) return;
  const wanted = 1000 * (Number(detail.xhr.getResponseHeader("retry-after")) || 0);
  failures.set(detail.elt, detail.successful || wanted ? 0 : (failures.get(detail.elt) ?? 0) + 1);
  due.set(detail.elt, Date.now() + Math.max(intervalOf(detail.elt), wanted));
});
document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  const { xhr } = detail;
  const login = document.body.dataset.loginUrl;
  const landed = xhr.responseURL ? new URL(xhr.responseURL).pathname : "";
  if (xhr.status === 401 || (landed === login && location.pathname !== login)) {
    // The session has ended. Who clicked is asked to sign in; a refresh leaves the page as it is.
    detail.shouldSwap = false;
    const address = `${login}?next=${encodeURIComponent(location.pathname + location.search)}`;
    if (!isPoll(detail)) return location.assign(address);
    signedOut = true;
    complain("Your session has ended.", { link: { href: address, label: "Sign in" } });
  } else if (detail.shouldSwap && /^\s*<!doctype/i.test(xhr.responseText)) {
    // A whole page is never inserted into a part of a page.
    detail.shouldSwap = false;
    if (isPoll(detail)) complain("A part of this page could not be refreshed. Reload the page.");
    else location.assign(xhr.responseURL);
  }
});
document.addEventListener("htmx:afterSwap", ({ detail }) => {
  const etag = detail.xhr.getResponseHeader("etag");
  if (detail.target.querySelector?.("[data-again-seconds]")) due.set(detail.target, Date.now() + intervalOf(detail.target));
  if (!isPoll(detail)) etags.clear();
  else if (etag) etags.set(pollKey(detail), etag);
  const news = detail.target.querySelector?.("[data-announce]")?.dataset.announce;
  if (news !== undefined && news !== lastNews) announce(news);
  lastNews = news ?? lastNews;
});
let lastNews = document.querySelector("[data-announce]")?.dataset.announce;

// --- The drawer: a link with hx-target="#drawer-body" fills it; closing gives the focus back to that link.
// While it is open the address is that of what it shows, so that it can be shared, reloaded and left by Back.

const drawer = document.getElementById("drawer") ?? document.createElement("dialog");
const here = () => location.pathname + location.search;
let opener = null;
let page = here(); // the address of the page itself, under the drawer

for (const name of ["htmx:pushedIntoHistory", "htmx:replacedInHistory"]) document.addEventListener(name, () => (page = here()));

document.addEventListener("htmx:beforeRequest", ({ detail }) => {
  if (detail.target.id !== "drawer-body" || drawer.open) return;
  opener = detail.elt;
  const address = opener.getAttribute?.("href");
  if (address) history.pushState({ drawer: address }, "", address);
  openDrawer();
});
function openDrawer() {
  document.getElementById("drawer-body").replaceChildren(document.getElementById("drawer-loading").content.cloneNode(true));
  drawer.showModal();
}
function showInDrawer(link) {
  opener = link;
  const address = link.getAttribute("href");
  history.replaceState({ drawer: address }, "", address);
  htmx.ajax("GET", address, { source: "#drawer-body", target: "#drawer-body" });
}
document.addEventListener("htmx:afterSwap", ({ detail }) => {
  if (isPoll(detail) || !drawer.contains(document.getElementById(detail.target.id))) return; // it may be its own successor
  if (detail.target.id === "drawer-body") drawer.querySelector("#drawer-title")?.focus();
  // a tab chosen in the drawer is part of the address; Back still closes the drawer
  const shown = drawer.querySelector("[data-here]")?.dataset.here;
  if (shown && history.state?.drawer) history.replaceState({ drawer: shown }, "", shown);
});
drawer.addEventListener("close", () => {
  document.getElementById("drawer-body").replaceChildren();
  const again = opener?.isConnected ? opener : opener?.id && document.getElementById(opener.id);
  again?.focus();
  opener = null;
  if (history.state?.drawer && here() !== page) history.back();
});
// Runs before htmx's own handler, so that a page that is still there is not fetched again.
addEventListener(
  "popstate",
  (event) => {
    const address = event.state?.drawer;
    if (address && address !== page && document.getElementById("drawer")) {
      if (!drawer.open) openDrawer();
      htmx.ajax("GET", address, { target: "#drawer-body" });
    } else if (here() === page) {
      if (drawer.open) drawer.close();
    } else {
      if (!event.state?.htmx) location.reload();
      return;
    }
    event.stopImmediatePropagation();
  },
  { capture: true },
);

// --- Elements name the module that they need. The module is called once with each element, which is ready when the
// module says so. While the console cannot be reached, it is asked for again every few seconds.

const MODULE_AGAIN_MS = 5000;

function equip(scope) {
  for (const element of scope.querySelectorAll("[data-module]:not([data-equipped])")) equipOne(element);
}
async function equipOne(element) {
  element.dataset.equipped = "";
  try {
    const module = await import(element.dataset.module).catch(asNetworkError);
    await module.default(element);
    element.dataset.equipped = "ready";
  } catch (error) {
    if (error.name !== "NetworkError") throw error;
    setTimeout(() => element.isConnected && equipOne(element), MODULE_AGAIN_MS);
  }
}
function asNetworkError(error) {
  throw error instanceof TypeError ? new DOMException(error.message, "NetworkError") : error;
}
equip(document);
document.addEventListener("htmx:load", ({ detail }) => equip(detail.elt.parentElement ?? document));

// --- Failed requests are reported. Polls report a failure once.

function complain(text, { link, lasting = Boolean(link) } = {}) {
  const toasts = document.getElementById("toasts");
  const same = [...toasts.children].find((toast) => toast.dataset.said === text);
  if (same) return same;
  const toast = document.createElement("div");
  toast.className = "alert tone-bad shadow-raised";
  toast.dataset.toast = "error";
  toast.dataset.said = text;
  toast.textContent = text;
  toasts.append(toast);
  if (link) toast.append(Object.assign(document.createElement("a"), { className: "link", href: link.href, textContent: link.label }));
  if (!lasting) setTimeout(() => toast.remove(), 10000);
  return toast;
}
// An outage is shown with the server's message, for as long as it lasts.
let outage = null;
function outageOf(xhr) {
  if (xhr.status !== 503) return "";
  const answer = new DOMParser().parseFromString(xhr.responseText, "text/html");
  return answer.querySelector("[data-outage]")?.textContent.trim() ?? "";
}
document.addEventListener("htmx:afterRequest", ({ detail }) => {
  const said = outageOf(detail.xhr);
  if (said) {
    outage = complain(said, { lasting: true });
  } else if (detail.xhr.status) {
    outage?.remove();
    outage = null;
  }
});
document.addEventListener("htmx:sendError", () => complain("The console cannot be reached. Trying again."));
document.addEventListener("htmx:timeout", () => complain("The console is taking too long to respond."));
document.addEventListener("htmx:responseError", ({ detail }) => {
  if (detail.xhr.status === 401) return;
  if (drawer.open && detail.target?.id === "drawer-body" && !isPoll(detail)) drawer.close();
  if (outageOf(detail.xhr)) return;
  const id = !isPoll(detail) && detail.xhr.getResponseHeader("x-request-id");
  complain(`The console answered ${detail.xhr.status}.${id ? ` Request ${id}.` : isPoll(detail) ? " Trying again." : ""}`);
});

// Success messages disappear by themselves. Warnings and errors stay until dismissed.
function dismissGoodNews() {
  for (const toast of document.querySelectorAll("[data-toast=success]:not([data-leaving]), [data-toast=info]:not([data-leaving])")) {
    toast.dataset.leaving = "";
    const leave = () => (toast.matches(":hover, :focus-within") ? setTimeout(leave, 2000) : toast.remove());
    setTimeout(leave, 8000);
  }
}
dismissGoodNews();
document.addEventListener("htmx:load", dismissGoodNews);
