"""Scrolls the list of receipts in chromium, and counts what a person would notice: slow frames, and memory that grows.

Before it, a list of plain text is scrolled in the same way, while the server answers about as many pages. What is late there
is not the list's doing.
"""

import time
from collections.abc import Callable
from typing import Any

from playwright.sync_api import CDPSession, Page, sync_playwright

from tests import chromium

SLOW_MS = 50
FIRST_ROWS = 2000  # after which the document has all that it ever has at once
STEP_ROWS = 10_000
PATIENCE_MS = 600_000
PLAIN_SECONDS = 60
PLAIN_LINES = 3000

# Scrolls 400 pixels a frame, or to the end of what there is. A long task keeps the page's thread for over 50 ms, in
# which no frame can be drawn; a frame may also be late because another process has the core. While it rests, garbage is
# collected to weigh the memory, and nothing counts.
_BEGIN = """() => {
    // a refresh may replace them
    const scroller = () => document.querySelector(".table-scroll");
    const height = (element) => element.getBoundingClientRect().height;
    let before = null;
    let rests = false;
    let pause = { from: Infinity, to: Infinity };
    window.scrolled = {
        frames: 0,
        late: 0,
        slowest: 0,
        longTasks: [],
        rows: () => {
            const list = scroller().querySelector("[data-list]");
            return Math.round(height(list) / height(list.firstElementChild));
        },
        rest: () => {
            rests = true;
            pause = { from: performance.now(), to: Infinity };
        },
        goOn: () => {
            rests = false;
            pause.to = performance.now();
        },
    };
    const counts = ({ startTime, duration }) => startTime + duration < pause.from || startTime > pause.to;
    new PerformanceObserver((found) => {
        scrolled.longTasks.push(...found.getEntries().filter(counts).map((task) => task.duration));
    }).observe({ type: "longtask" });
    scroller().scrollIntoView({ block: "end" }); // all of it
    const frame = (at) => {
        if (before !== null) {
            const took = Math.round(at - before); // three of a screen's frames are 50.0 ms
            scrolled.frames += 1;
            scrolled.slowest = Math.max(scrolled.slowest, took);
            if (took > SLOW_MS) scrolled.late += 1;
        }
        before = rests ? null : at;
        if (!rests) scroller().scrollTop += 400;
        requestAnimationFrame(frame);
    };
    requestAnimationFrame(frame);
}""".replace("SLOW_MS", str(SLOW_MS))

# Lines about as high as rows, without end. Pages are asked for about as often as the list does, and not shown.
_PLAIN = """(lines) => {
    const line = "<p style='margin: 0; height: 45px'>" + "The quick brown fox jumps over the lazy dog. ".repeat(4) + "</p>";
    document.body.innerHTML =
        `<div class="table-scroll" style="height: 90vh; overflow: auto"><div data-list>${line.repeat(lines)}</div></div>`;
    const scroller = document.querySelector(".table-scroll");
    scroller.addEventListener("scroll", () => {
        if (scroller.scrollTop + scroller.clientHeight > scroller.scrollHeight - 500) scroller.scrollTop = 0;
    });
    setInterval(() => fetch("/receipts/").then((answer) => answer.text()), 70);
}"""


def scroll(base: str, login: dict[str, str], rows: int, *, say: Callable[[str], None]) -> dict[str, str]:
    """Signs in, scrolls the list over so many rows, and returns what was measured, in words."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium.path(), args=list(chromium.ARGUMENTS))
        try:
            page = browser.new_page(base_url=base, viewport={"width": 1440, "height": 900})
            page.goto("/login/")
            page.get_by_label("Email").fill(login["email"])
            page.get_by_label("Password", exact=True).fill(login["password"])
            page.keyboard.press("Enter")
            page.wait_for_url(lambda url: "/login/" not in url)
            plain = _plain(page)
            say(f"of plain text, {plain}")
            page.goto("/receipts/")
            page.evaluate(_BEGIN)
            devtools = page.context.new_cdp_session(page)
            devtools.send("Performance.enable")
            _wait_for_rows(page, FIRST_ROWS)
            page.evaluate("scrolled.rest()")
            first = _memory(devtools)
            page.evaluate("scrolled.goOn()")
            paces: list[float] = []
            begun, at = time.perf_counter(), FIRST_ROWS
            for passed in range(STEP_ROWS, rows + 1, STEP_ROWS):
                _wait_for_rows(page, passed)
                now = time.perf_counter()
                paces.append((passed - at) / (now - begun))
                begun, at = now, passed
                longest = page.evaluate("Math.max(0, ...scrolled.longTasks)")
                say(
                    f"{passed:,} rows scrolled, {paces[-1]:.0f} a second, the longest task so far {longest:.0f} ms"
                )
            seen = page.evaluate("({ ...scrolled, rows: scrolled.rows() })")
            last = _memory(devtools)
        finally:
            browser.close()
    tasks = seen["longTasks"]
    return {
        "rows scrolled": f"{seen['rows']:,}",
        f"rows a second in each {STEP_ROWS:,}": ", ".join(f"{pace:.0f}" for pace in paces),
        f"frames, of which over {SLOW_MS} ms, the slowest in ms": _frames(seen),
        "the same of a list of plain text": plain,
        f"tasks of the page over {SLOW_MS} ms, the longest in ms": f"{len(tasks)}, {max(tasks, default=0):.0f}",
        f"memory of the page after {FIRST_ROWS:,} rows and at the end, MiB": f"{first[0]:.1f}, {last[0]:.1f}",
        f"nodes of the document after {FIRST_ROWS:,} rows and at the end": f"{first[1]:,}, {last[1]:,}",
    }


def _plain(page: Page) -> str:
    """The frames of a list of plain text."""
    page.goto("/healthz")
    page.evaluate(_PLAIN, PLAIN_LINES)
    page.evaluate(_BEGIN)
    page.wait_for_timeout(PLAIN_SECONDS * 1000)
    return _frames(page.evaluate("scrolled"))


def _frames(seen: dict[str, Any]) -> str:
    return f"{seen['frames']:,}, {seen['late']}, {seen['slowest']:.0f}"


def _wait_for_rows(page: Page, rows: int) -> None:
    page.wait_for_function("(rows) => scrolled.rows() >= rows", arg=rows, timeout=PATIENCE_MS, polling=250)


def _memory(devtools: CDPSession) -> tuple[float, int]:
    """MiB of the heap and nodes of the document, without garbage."""
    devtools.send("HeapProfiler.collectGarbage")
    metrics = {each["name"]: each["value"] for each in devtools.send("Performance.getMetrics")["metrics"]}
    return metrics["JSHeapUsedSize"] / 2**20, int(metrics["Nodes"])
