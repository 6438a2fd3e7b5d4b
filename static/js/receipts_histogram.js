// Receipts by time: arrow keys read bars, Enter or a click zooms into one, dragging into several, and Escape goes back
// to the range before. Without this file each bar is a link that zooms.

const STEPS = "receipts-zooms"; // in this tab: the addresses that were zoomed from, and what with
const AGAIN = "receipts-zoomed-by-keys"; // the next page gives the histogram the focus

const here = () => location.pathname + location.search;
function steps() {
  try {
    return JSON.parse(sessionStorage.getItem(STEPS)) ?? [];
  } catch {
    return [];
  }
}

function zoom(host, from, until, { keys = false } = {}) {
  const url = new URL(host.dataset.zoomUrl, location.href);
  url.searchParams.set("from", from);
  url.searchParams.set("to", until);
  const address = url.pathname + url.search;
  if (address === here()) return;
  sessionStorage.setItem(STEPS, JSON.stringify([...steps(), { from: here(), to: address }].slice(-50)));
  if (keys) sessionStorage.setItem(AGAIN, address);
  location.assign(address);
}

/** Whether there was a range before this one. Goes back to it. */
function zoomBack(keys) {
  const taken = steps();
  const last = taken.findLastIndex((step) => step.to === here());
  if (last < 0) return false;
  const { from } = taken[last];
  sessionStorage.setItem(STEPS, JSON.stringify(taken.slice(0, last)));
  if (keys) sessionStorage.setItem(AGAIN, from);
  location.assign(from);
  return true;
}

// Escape closes what is open first. In a field it is the field's.
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.defaultPrevented || event.isComposing) return;
  if (document.querySelector("dialog[open], details[data-menu][open], [popover]:popover-open")) return;
  if (event.target.closest("input, select, textarea")) return;
  const host = document.getElementById("receipts-histogram");
  if (host && zoomBack(host.contains(document.activeElement))) event.preventDefault();
});

export default function histogram(host) {
  const svg = host.querySelector("svg");
  const bars = [...svg.querySelectorAll("a")];
  const readout = host.closest("figure").querySelector("[data-readout]");
  const hint = readout.textContent;
  let current = -1;

  const shade = document.createElement("div");
  shade.className = "histogram-chosen";
  shade.hidden = true;
  host.append(shade);

  function cover(first, last) {
    const box = host.getBoundingClientRect();
    const left = bars[first].getBoundingClientRect().left;
    const right = bars[last].getBoundingClientRect().right;
    Object.assign(shade.style, { left: `${left - box.left}px`, width: `${right - left}px` });
    shade.hidden = false;
  }
  const words = (bar) => bar.getAttribute("aria-label");
  function read(index) {
    current = index;
    cover(index, index);
    readout.textContent = words(bars[index]);
  }
  function rest() {
    current = -1;
    shade.hidden = true;
    readout.textContent = hint;
  }

  // one stop for the Tab key
  host.tabIndex = 0;
  host.dataset.reading = ""; // while it has the focus, nothing is drawn anew under the reader
  host.setAttribute("role", "group");
  host.setAttribute("aria-label", "Histogram of receipts: arrow keys read the bars, Enter zooms in, Escape goes back");
  host.setAttribute("aria-describedby", readout.id);
  host.addEventListener("focus", () => readout.setAttribute("aria-live", "polite"));
  host.addEventListener("blur", () => {
    readout.removeAttribute("aria-live");
    rest();
  });
  host.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey) return;
    const last = bars.length - 1;
    const next = { ArrowLeft: current < 0 ? last : current - 1, ArrowRight: current + 1, Home: 0, End: last }[event.key];
    if (next !== undefined) read(Math.min(Math.max(next, 0), last));
    else if (event.key === "Enter" && current >= 0) zoom(host, bars[current].dataset.from, bars[current].dataset.until, { keys: true });
    else return;
    event.preventDefault();
  });

  const at = (x) => {
    const found = bars.findIndex((bar) => bar.getBoundingClientRect().right > x);
    return found < 0 ? bars.length - 1 : found;
  };
  let start = null;
  let moved = false;
  svg.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) return;
    start = event.clientX;
    moved = false;
    svg.setPointerCapture(event.pointerId);
  });
  svg.addEventListener("pointermove", (event) => {
    if (start === null) return read(at(event.clientX));
    if (!moved && Math.abs(event.clientX - start) < 4) return;
    moved = true;
    const [first, last] = [at(start), at(event.clientX)].sort((one, other) => one - other);
    cover(first, last);
    readout.textContent = `${words(bars[first]).split(": ")[0]} to ${words(bars[last]).split(": ")[0]}`;
  });
  svg.addEventListener("pointerup", (event) => {
    if (start === null) return;
    const [first, last] = [at(start), at(event.clientX)].sort((one, other) => one - other);
    start = null;
    zoom(host, bars[first].dataset.from, bars[last].dataset.until);
  });
  svg.addEventListener("pointercancel", () => {
    start = null;
    rest();
  });
  svg.addEventListener("pointerleave", () => {
    if (start === null && document.activeElement !== host) rest();
  });
  // a plain click was a pointerup; with a modifier the link opens another tab or window
  svg.addEventListener("click", (event) => {
    if (event.detail && !event.ctrlKey && !event.metaKey && !event.shiftKey) event.preventDefault();
  });

  if (sessionStorage.getItem(AGAIN) === here()) {
    sessionStorage.removeItem(AGAIN);
    host.focus({ preventScroll: true });
  }
}
