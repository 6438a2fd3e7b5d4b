// A list that goes on while it is scrolled. The next page of rows is appended when the end comes near. Pages far out of
// sight are taken out, a gap of their height takes their place, and they are fetched again when they come near. The
// first page always stays: a refresh compares its rows with the newest ones (held.js). A page's rows are put in hidden and
// shown a few with each frame, because a browser takes longer than a frame to lay out all of them.

const NEAR_PX = 600;
const AGAIN_MS = 3000; // after a page that could not be had; twice as long each time, up to
const MOST_MS = 15000;
const ANSWER_MS = 15000; // a request that nobody answers must not stop the list
const SPARE_PAGES = 2; // besides the first one and those near the visible rows
const ROWS_A_FRAME = 10;
const FRAME_MS = 100; // at most, because a window that nobody sees has no frames

const LINKS = { next: "a[rel=next]", prev: "a[rel=prev]" };
const rowsOf = (root) => [...root.querySelectorAll("[data-list] > [id]")];

const nextFrame = () =>
  new Promise((done) => {
    requestAnimationFrame(done);
    setTimeout(done, FRAME_MS);
  });

/** Whether one of the rows has the focus or a part of the selection. */
function areInUse(rows) {
  const selection = getSelection();
  return rows.some((row) => row.contains(document.activeElement) || (!selection.isCollapsed && selection.containsNode(row, true)));
}

function hide(rows) {
  for (const row of rows) row.hidden = true;
}

const known = new WeakMap(); // part → its pages

/** The pages of a list, or null for a list that does not go on. A refresh may have replaced its rows. */
export function pagesOf(list) {
  const part = list?.closest("[data-extends]");
  if (!part || !list.querySelector(":scope > [id]")) return null;
  const pages = known.get(part);
  if (pages?.holds(list)) return pages;
  const fresh = new Pages(part, list);
  known.set(part, fresh);
  return fresh;
}

class Pages {
  constructor(part, list) {
    for (const gap of list.querySelectorAll(":scope > [data-gap]")) gap.remove();
    this.part = part;
    this.list = list;
    const rows = [...list.children];
    this.all = [{ first: rows[0].id, last: rows.at(-1).id, url: "", height: 0 }];
    // The document has the first page and all.slice(from, to + 1).
    this.from = 1;
    this.to = 0;
    this.settling = false;
    this.failures = 0;
    this.last = Promise.resolve();
    this.shown = Promise.resolve(); // once no row is hidden
    this.hidden = { above: 0, below: 0 }; // pixels, which the gaps have meanwhile
  }

  /** Does one thing after the other. */
  alone(work) {
    this.last = this.last.then(work, work);
    return this.last;
  }

  /** Whether the list still has the rows of these pages. */
  holds(list) {
    this.list = list;
    const rows = [...list.children].filter((row) => row.id);
    return rows[0].id === this.all[0].first && rows.at(-1).id === this.all[this.to].last;
  }

  /** Puts the rows before or after `row` into the document, if a page begins or ends with it. */
  async reach(row, step) {
    await this.shown;
    const pageOf = () => this.all.findIndex(({ first, last }) => row.id === (step > 0 ? last : first));
    if (pageOf() < 0) return;
    await this.alone(() => {
      const page = pageOf();
      if (page < 0 || !this.current()) return;
      const wanted = page + step;
      const isThere = wanted === 0 || (this.from <= wanted && wanted <= this.to);
      if (isThere) return;
      if (wanted < 0) return this.putBefore();
      if (wanted < this.all.length && page === 0) return this.jump(wanted); // over the gap
      return wanted < this.all.length ? this.fillIn(wanted) : this.goOn({ navigates: true });
    });
  }

  /** Adds pages until nothing near the visible rows is missing. */
  async settle() {
    if (this.settling) return;
    this.settling = true;
    try {
      while (await this.alone(() => this.addMissing()));
    } finally {
      this.settling = false;
    }
    // nobody can scroll on from the end, so nothing else would ask again
    clearTimeout(this.timer);
    const again = () => pagesOf(this.part.querySelector("[data-list]"))?.settle();
    if (this.failures) this.timer = setTimeout(again, Math.min(AGAIN_MS * 2 ** (this.failures - 1), MOST_MS));
  }

  /** Adds a page that is missing near the visible rows. Whether there was one. */
  async addMissing() {
    const wanted = this.current() ? this.missing() : null;
    if (wanted === null) {
      this.failures = 0; // nothing to ask for again
      return false;
    }
    if (wanted === this.all.length) return this.goOn();
    return wanted === this.from - 1 || wanted === this.to + 1 ? this.fillIn(wanted) : this.jump(wanted);
  }

  /** Appends the page after all that were seen. */
  async goOn({ navigates = false } = {}) {
    const found = await this.follow("next", navigates);
    if (!found) return false;
    this.makeRoom(1);
    hide(found.rows);
    this.row(this.all[this.to].last).after(...found.rows);
    this.all.push({ ...found.page, height: 0 });
    this.to += 1;
    return this.show(found.rows, "below");
  }

  /** Puts the page before the first one in front. */
  async putBefore() {
    const found = await this.follow("prev", true);
    if (!found) return false;
    if (this.from > 1) {
      while (this.from <= this.to) this.takeOut(this.to--); // a gap would be between them and the first two
      this.to = 0;
    }
    this.makeRoom(-1);
    hide(found.rows);
    this.list.prepend(...found.rows);
    this.all[0].url = found.onward.next?.href ?? "";
    this.all.unshift({ ...found.page, height: 0 });
    this.from = 1;
    this.to += 1;
    return this.show(found.rows, "above");
  }

  /** Puts a page that was taken out back beside those that are there. */
  async fillIn(index) {
    const found = await this.fetch(this.all[index].url);
    if (!found?.rows.length) return false;
    const side = index > this.to ? "below" : "above";
    Object.assign(this.all[index], found.page);
    this.makeRoom(index - this.to);
    hide(found.rows);
    if (side === "below") {
      this.row(this.all[this.to].last).after(...found.rows);
      this.to = index;
    } else {
      this.row(this.all[this.from].first).before(...found.rows);
      this.from = index;
    }
    return this.show(found.rows, side, this.all[index].height);
  }

  /** Puts a page that was taken out in place of those that are there. */
  async jump(index) {
    const found = await this.fetch(this.all[index].url);
    if (!found?.rows.length) return false;
    while (this.from <= this.to) this.takeOut(this.to--);
    Object.assign(this.all[index], found.page);
    hide(found.rows);
    this.row(this.all[0].last).after(...found.rows);
    this.from = this.to = index;
    return this.show(found.rows, "below", this.all[index].height);
  }

  /** Shows hidden rows, which took up `height` before, from those that are next to what is shown. */
  async show(rows, side, height = 0) {
    let done;
    this.shown = new Promise((resolve) => (done = resolve));
    try {
      this.hidden[side] = height;
      this.fillGaps(); // before the next frame, or the list would be shorter in it
      await nextFrame(); // which lays out the table without the rows that made room for these
      while (rows.length) {
        await nextFrame();
        const next = rows.splice(side === "below" ? 0 : -ROWS_A_FRAME, ROWS_A_FRAME);
        for (const row of next) row.hidden = false;
        const left = rows.length / (rows.length + next.length);
        height *= left;
        this.hidden[side] = height;
        if (!this.current()) continue; // refreshed meanwhile
        this.fillGaps();
        for (const row of next) htmx.process(row);
      }
    } finally {
      for (const row of rows) row.hidden = false; // after an error
      this.hidden[side] = 0;
      done();
    }
    return true;
  }

  current() {
    return this.list.isConnected && this.holds(this.list);
  }

  /** The index of a page that is missing near the visible rows, or null. */
  missing() {
    const box = this.list.closest(".table-scroll").getBoundingClientRect();
    const view = { top: Math.max(0, box.top), bottom: Math.min(innerHeight, box.bottom) };
    const isNear = ({ top, bottom }) => bottom > view.top - NEAR_PX && top < view.bottom + NEAR_PX;
    const above = this.gap("above")?.getBoundingClientRect();
    if (above && isNear(above)) return above.bottom < view.bottom ? this.from - 1 : this.pageAt(1, view.top - above.top);
    const below = this.gap("below")?.getBoundingClientRect();
    if (below) return isNear(below) ? this.pageAt(this.to + 1, view.top - below.top) : null;
    const end = this.row(this.all[this.to].last).getBoundingClientRect().bottom;
    return end < view.bottom + NEAR_PX && this.part.querySelector(LINKS.next) ? this.all.length : null;
  }

  /** The page that is `offset` pixels below the top of the page `first`. */
  pageAt(first, offset) {
    let index = first;
    const last = first === 1 ? this.from - 1 : this.all.length - 1;
    while (index < last && offset > this.all[index].height) offset -= this.all[index++].height;
    return index;
  }

  /**
   * Takes out pages at the end that the reader moves away from, but none that has the focus or a selection. Before
   * others are put in: it measures, and a table that has changed would be laid out once more for that.
   */
  makeRoom(step) {
    const most = this.mostPages();
    while (this.from <= this.to && this.to - this.from + 1 >= most) {
      const index = step > 0 ? this.from : this.to;
      if (areInUse(this.rows(index))) break;
      this.takeOut(index);
      if (step > 0) this.from += 1;
      else this.to -= 1;
    }
  }

  /** How many pages the document has besides the first. The fewer rows, the sooner the table is laid out. */
  mostPages() {
    if (this.from > this.to) return Infinity;
    const [first, last] = [this.row(this.all[this.from].first), this.row(this.all[this.to].last)];
    const height = last.getBoundingClientRect().bottom - first.getBoundingClientRect().top;
    const view = Math.min(innerHeight, this.list.closest(".table-scroll").clientHeight);
    return Math.ceil((view + 2 * NEAR_PX) / (height / (this.to - this.from + 1))) + SPARE_PAGES;
  }

  takeOut(index) {
    const rows = this.rows(index);
    this.all[index].height = rows.at(-1).getBoundingClientRect().bottom - rows[0].getBoundingClientRect().top;
    for (const row of rows) row.remove();
  }

  fillGaps() {
    const height = (pages) => pages.reduce((sum, page) => sum + page.height, 0);
    const above = this.from <= this.to ? height(this.all.slice(1, this.from)) + this.hidden.above : 0;
    this.fill("above", above, () => this.row(this.all[0].last));
    this.fill("below", height(this.all.slice(this.to + 1)) + this.hidden.below, () => this.row(this.all[this.to].last));
  }

  fill(side, height, before) {
    let gap = this.gap(side);
    if (!height) return gap?.remove();
    if (!gap) {
      const cell = this.list.closest("table") ? ["tr", "td"] : ["li", "div"];
      gap = document.createElement(cell[0]);
      gap.dataset.gap = side;
      gap.ariaHidden = "true";
      gap.append(document.createElement(cell[1]));
      if (gap.firstChild.localName === "td") gap.firstChild.colSpan = 99;
    }
    gap.firstChild.setAttribute("height", Math.round(height)); // an attribute, which outlives a refresh
    if (before().nextElementSibling !== gap) before().after(gap);
  }

  gap(side) {
    return this.list.querySelector(`:scope > [data-gap=${side}]`);
  }

  row(id) {
    return document.getElementById(id);
  }

  rows(index) {
    const { first, last } = this.all[index];
    const rows = [this.row(first)];
    while (rows.at(-1).id !== last) rows.push(rows.at(-1).nextElementSibling);
    return rows;
  }

  /** The page that a link leads to, in whose place it leaves its own link onward. */
  async follow(rel, navigates) {
    const link = this.part.querySelector(LINKS[rel]);
    const found = link && (await this.fetch(link.href, navigates));
    if (!found) return null;
    if (found.onward[rel] && found.rows.length) link.replaceWith(found.onward[rel]);
    else link.remove();
    return found.rows.length ? found : null;
  }

  /** The rows of a page that are not in the document yet, or null if it cannot be had. */
  async fetch(url, navigates = false) {
    const patience = new AbortController();
    const timer = setTimeout(() => patience.abort(), ANSWER_MS);
    try {
      const headers = { "HX-Request": "true", "HX-Target": this.part.id };
      const answer = await fetch(url, { headers, signal: patience.signal });
      if (!answer.ok || answer.redirected) {
        if (navigates) location.assign(url);
        this.failures = answer.status === 401 ? 0 : this.failures + 1; // whoever is signed out need not ask
        return null;
      }
      this.failures = 0;
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      if (!this.current()) {
        this.failures = 1; // refreshed meanwhile
        return null;
      }
      const rows = rowsOf(page).filter((row) => !this.row(row.id));
      const onward = { next: page.querySelector(LINKS.next), prev: page.querySelector(LINKS.prev) };
      return { rows, onward, page: rows.length ? { url, first: rows[0].id, last: rows.at(-1).id } : {} };
    } catch {
      this.failures += 1; // as of a network that is down; the link is still there
      return null;
    } finally {
      clearTimeout(timer);
    }
  }
}

let scheduled = null;
document.addEventListener(
  "scroll",
  ({ target }) => {
    const list = target.querySelector?.("[data-extends] [data-list]") ?? null;
    if (!list || scheduled) return;
    scheduled = requestAnimationFrame(() => {
      scheduled = null;
      pagesOf(list)?.settle();
    });
  },
  { capture: true, passive: true },
);
