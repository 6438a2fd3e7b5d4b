// j and k walk a list, over the ends of its pages (windowed_list.js). While the drawer is open it shows the row that they come to.

import { holdsBack, release } from "./held.js";
import { pagesOf } from "./windowed_list.js";

const LINKS = "[data-list] > :not([hidden]) [data-open]";

let walking = Promise.resolve();

/** Walks a step, once those before it are done: a row may have to be fetched. `drawerState()` is that of the moment. */
export function walk(step, drawerState) {
  walking = walking.then(() => takeStep(step, drawerState())).catch(reportError);
}

/** `opener` is the link that the drawer shows, and `show` opens another one in it. */
async function takeStep(step, { drawer, opener, show }) {
  const inDrawer = drawer.open && drawer.querySelector(LINKS);
  const scope = inDrawer ? drawer : document;
  const under = drawer.open && !inDrawer; // the list is under the drawer
  let links = [...scope.querySelectorAll(LINKS)];
  const current = under ? shownRow(links, opener) : position(links, document.activeElement);
  if (!links.length || (under && current < 0)) return;
  let next = current < 0 ? (step > 0 ? 0 : links.length - 1) : current + step;
  if (current >= 0) {
    const from = links[current];
    const list = from.closest("[data-list]");
    if (next < 0 && !under && holdsBack(list.closest("[data-holds]"))) release(list.closest("[data-holds]"));
    await pagesOf(list)?.reach(from.closest("[data-list] > *"), step);
    links = [...scope.querySelectorAll(LINKS)];
    next = links.indexOf(from) + step;
  }
  if (!links[next]) return;
  links[next].scrollIntoView({ block: "nearest" });
  if (under) show(links[next]);
  else links[next].focus({ preventScroll: true });
}

function position(links, element) {
  const row = element?.closest("[data-list] > *");
  return links.findIndex((link) => link === element || (row && row.contains(link)));
}

/** The row that the drawer shows. A refresh may have put another element in the link's place. */
function shownRow(links, opener) {
  if (opener) return position(links, opener.isConnected ? opener : document.getElementById(opener.id));
  return links.findIndex((link) => link.pathname === location.pathname);
}
