// A live part marked data-holds does not move what a person reads in it. While somebody is at it, a refresh brings its
// rows up to date in place, and rows that are new are announced beside it, in [data-news-of]. They come when they are
// asked for, or once nobody is at the part any more.

const ROWS = "[data-list] > [id]";
const QUIET_MS = 5000; // the announcement changes at most so often, since a screen reader says it each time

const isOverWindow = () => document.querySelector("dialog[open]");

function isScrolled(part) {
  const row = part.querySelector(ROWS);
  return (row && row.getBoundingClientRect().top < 0) || [...part.querySelectorAll(".table-scroll")].some((each) => each.scrollTop > 1);
}

function isSelected(part) {
  const selection = getSelection();
  return !selection.isCollapsed && selection.containsNode(part, true);
}

const isRead = (part) =>
  !("release" in part.dataset) &&
  (isOverWindow() || part.querySelector("[data-list] > :hover, [data-list] > :focus-within") || isScrolled(part) || isSelected(part));

/** Whether the next refresh is to bring all of the part, also what was held back. */
export const wantsAll = (part) => part.matches("[data-holds]") && "held" in part.dataset && !isRead(part);

/** Whether new rows are held back. */
export const holdsBack = (part) => part !== null && "held" in part.dataset;

/** Brings what was held back. */
export function release(part) {
  part.dataset.release = "";
  htmx.trigger(part, "refresh");
}

const told = new WeakMap(); // the announcement → when it last changed, and the timer of its next change

function tell(part, count, more) {
  const news = document.querySelector(`[data-news-of="${part.id}"]`);
  if (!news) return;
  const before = told.get(news) ?? { at: 0 };
  clearTimeout(before.timer);
  if (!count) {
    news.querySelector("button")?.remove();
    told.set(news, { at: 0 });
    return;
  }
  const say = () => {
    const words = more ? news.dataset.more : count === 1 ? news.dataset.single : news.dataset.plural;
    const button = news.querySelector("button") ?? news.querySelector("template").content.firstElementChild.cloneNode(true);
    button.querySelector("[data-words]").textContent = words.replace("#", count);
    if (!button.isConnected) news.append(button);
    told.set(news, { at: Date.now() });
  };
  const wait = news.querySelector("button") ? before.at + QUIET_MS - Date.now() : 0;
  if (wait > 0) told.set(news, { at: before.at, timer: setTimeout(say, wait) });
  else say();
}

document.addEventListener("click", (event) => {
  const news = event.target.closest("[data-news-of]");
  if (!news || !event.target.closest("button")) return;
  const part = document.getElementById(news.dataset.newsOf);
  for (const each of part.querySelectorAll(".table-scroll")) each.scrollTop = 0;
  if (part.getBoundingClientRect().top < 0) news.parentElement.scrollIntoView({ block: "start" });
  getSelection().removeAllRanges();
  release(part);
});

document.addEventListener("htmx:beforeSwap", ({ detail }) => {
  const part = detail.elt;
  if (!detail.shouldSwap || detail.target !== part || !part.matches("[data-holds]")) return;
  const rows = new Map([...part.querySelectorAll(ROWS)].map((row) => [row.id, row]));
  const next = [...new DOMParser().parseFromString(detail.serverResponse, "text/html").querySelectorAll(ROWS)];
  if (!rows.size || !next.length || !isRead(part)) {
    delete part.dataset.release;
    delete part.dataset.held;
    tell(part, 0);
    return;
  }
  const first = next.findIndex((row) => rows.has(row.id));
  const count = first < 0 ? next.length : first;
  detail.swapOverride = "morph-rows"; // there may be ten times as many rows as come, and all else stays
  if (count) part.dataset.held = "";
  tell(part, count, first < 0);
});
