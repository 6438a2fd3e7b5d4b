"""A list that goes on while it is scrolled, in chromium over an invented list of any length."""

import math
from urllib.parse import parse_qs, urlsplit

import pytest
from django.templatetags.static import static
from playwright.sync_api import Page, Route, expect

from tests.web.in_chromium import CONSOLE, IN_CHROMIUM, answer_from_django

pytestmark = IN_CHROMIUM

PER_PAGE, ROW_PX, VIEW_PX = 25, 37, 600
# The first page, those that reach into the view and 600 px around it, and two to spare.
MOST_ROWS = PER_PAGE * (1 + math.ceil((VIEW_PX + 2 * 600) / (PER_PAGE * ROW_PX)) + 2)
ROWS = 60 * PER_PAGE


class InventedList:
    """Answers the browser with pages of `count` numbered rows, as the list of receipts does."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.asked = 0
        self.newest = 0  # rows that have come since have negative numbers

    def page(self, route: Route) -> None:
        url = urlsplit(route.request.url)
        if url.path != "/rows":
            answer_from_django(route)
            return
        self.asked += 1
        query = parse_qs(url.query)
        start = int(query.get("cursor", [self.newest])[0])
        if "before" in query:
            start = max(0, int(query["before"][0]) - PER_PAGE)
        rows = "".join(
            f'<tr id="row-{n}"><th><a data-open id="open-{n}" href="#{n}">{n}</a></th></tr>'
            for n in range(start, min(start + PER_PAGE, self.count))
        )
        onward = f'<a rel="next" href="/rows?cursor={start + PER_PAGE}">Next page</a>'
        back = f'<a rel="prev" href="/rows?before={start}">Previous page</a>'
        body = f"""<!doctype html><title>Rows</title>
            <style>tr {{ height: {ROW_PX}px }} .table-scroll {{ height: {VIEW_PX}px; overflow: auto }}
            table {{ border-spacing: 0 }} th, td {{ padding: 0 }}</style>
            <script src="{static("django_htmx/htmx-2.min.js")}"></script>
            <script src="{static("vendor/idiomorph/idiomorph.min.js")}"></script>
            <script type="module" src="{static("js/morph.js")}"></script>
            <script type="module" src="{static("js/held.js")}"></script>
            <script type="module" src="{static("js/windowed_list.js")}"></script>
            <body hx-ext="morph"><p data-news-of="part" data-single="1 new" data-plural="# new" data-more="# or more new">
            <template><button><span data-words></span></button></template></p>
            <div id="part" data-extends data-holds hx-get="/rows" hx-trigger="refresh" hx-target="this" hx-swap="morph">"""
        part = f"""<div class="table-scroll"><table><tbody data-list>{rows}</tbody></table></div>
            {back if start else ""}{onward if start + PER_PAGE < self.count else ""}"""
        if route.request.headers.get("hx-request") is None:
            part = f"{body}{part}</div>"
        route.fulfill(status=200, content_type="text/html", body=part)


@pytest.fixture
def invented(page: Page) -> InventedList:
    served = InventedList(ROWS)
    page.route("**/*", served.page)
    return served


def scroll_to(page: Page, pixels: int) -> None:
    page.evaluate("(top) => (document.querySelector('.table-scroll').scrollTop = top)", pixels)


def in_document(page: Page) -> list[int]:
    rows: list[int] = page.evaluate(
        "[...document.querySelectorAll('tr[id]')].map((row) => Number(row.id.slice(4)))"
    )
    return rows


def visible(page: Page) -> list[int]:
    rows: list[int] = page.evaluate(
        """[...document.querySelectorAll("tr[id]")].filter((row) => {
            const box = document.querySelector(".table-scroll").getBoundingClientRect();
            const { top, bottom } = row.getBoundingClientRect();
            return bottom > box.top + 1 && top < box.bottom - 1;
        }).map((row) => Number(row.id.slice(4)))"""
    )
    return rows


def go_to(page: Page, row: int) -> None:
    """Scrolls to the row. A list that has not gone on so far yet can be scrolled to its end only, and goes on then."""
    page.wait_for_function(
        """([row, pixels]) => {
            const scroller = document.querySelector(".table-scroll");
            scroller.scrollTop = row * pixels;
            const { top } = scroller.getBoundingClientRect();
            const shown = document.getElementById(`row-${row}`)?.getBoundingClientRect();
            return shown?.height && Math.abs(shown.top - top) < 1;
        }""",
        arg=[row, ROW_PX],
    )
    expect_full_view(page)
    assert visible(page)[0] == row


def expect_full_view(page: Page) -> None:
    """Waits until the visible rows follow on each other and fill the view."""
    page.wait_for_function(
        """([row, view]) => {
            const box = document.querySelector(".table-scroll").getBoundingClientRect();
            const seen = [...document.querySelectorAll("tr[id]")].filter((row) => {
                const { top, bottom } = row.getBoundingClientRect();
                return bottom > box.top + 1 && top < box.bottom - 1;
            }).map((row) => Number(row.id.slice(4)));
            return seen.length >= view / row - 1 && seen.every((number, place) => number === seen[0] + place);
        }""",
        arg=[ROW_PX, VIEW_PX],
    )


def test_the_list_goes_on_to_its_end_and_the_document_stays_small(page: Page, invented: InventedList) -> None:
    page.goto(f"{CONSOLE}/rows")
    assert len(in_document(page)) == PER_PAGE
    for _ in range(2 * ROWS):
        rows = in_document(page)
        assert len(rows) <= MOST_ROWS
        if rows[-1] == ROWS - 1:
            break
        page.wait_for_function(  # to the end that there is, which moves while rows are shown
            """(last) => {
                document.querySelector(".table-scroll").scrollTop = 10 ** 7;
                return [...document.querySelectorAll("tbody > tr[id]")].at(-1).id !== last;
            }""",
            arg=f"row-{rows[-1]}",
        )
    assert rows[:PER_PAGE] == list(range(PER_PAGE))
    assert rows[PER_PAGE:] == list(range(rows[PER_PAGE], ROWS))
    expect(page.get_by_text("Next page")).to_have_count(0)
    expect(page.locator("tr[id][hidden]")).to_have_count(0)
    assert page.evaluate("document.querySelector('tbody').getBoundingClientRect().height") == ROWS * ROW_PX
    assert invented.asked == ROWS // PER_PAGE


def test_pages_that_were_taken_out_come_back_where_they_were(page: Page, invented: InventedList) -> None:
    page.goto(f"{CONSOLE}/rows")
    for row in range(0, 40 * PER_PAGE, 12):
        go_to(page, row)
    for row in (
        39 * PER_PAGE,
        20 * PER_PAGE + 3,
        0,
        30 * PER_PAGE,
        31 * PER_PAGE,
        5,
        PER_PAGE,
        12 * PER_PAGE,
    ):
        go_to(page, row)
        assert len(in_document(page)) <= MOST_ROWS
    for row in range(12 * PER_PAGE, -1, -12):
        go_to(page, row)


def test_rows_are_shown_a_few_at_a_time(page: Page, invented: InventedList) -> None:
    """All of a page at once would make a frame late."""
    page.goto(f"{CONSOLE}/rows")
    go_to(page, 40 * PER_PAGE)
    page.evaluate(
        """() => {
            const rowsOf = ({ type, target, addedNodes }) => (type === "attributes" ? [target] : [...addedNodes]);
            window.most = 0;
            new MutationObserver((changes) => {
                const rows = new Set(changes.flatMap(rowsOf).filter((row) => row.id && !row.hidden));
                window.most = Math.max(window.most, rows.size);
            }).observe(document.querySelector("tbody"), { childList: true, subtree: true, attributeFilter: ["hidden"] });
        }"""
    )
    for pixels in (400, -400):
        for _ in range(30):
            page.evaluate("(by) => (document.querySelector('.table-scroll').scrollTop += by)", pixels)
            expect_full_view(page)
    for row in (2 * PER_PAGE, 15 * PER_PAGE, 0):  # far from what the document has
        go_to(page, row)
    most = page.evaluate("most")
    assert 0 < most <= 10
    expect(page.locator("tr[id][hidden]")).to_have_count(0)


@pytest.mark.parametrize("anchor", ["auto", "none"])
def test_the_list_is_never_shorter_while_it_goes_on(page: Page, invented: InventedList, anchor: str) -> None:
    """Or the view would jump in a browser that does not keep it in place (overflow-anchor)."""
    page.goto(f"{CONSOLE}/rows")
    page.evaluate(
        """(anchor) => {
            document.querySelector(".table-scroll").style.overflowAnchor = anchor;
            const height = () => document.querySelector("tbody").getBoundingClientRect().height;
            window.falls = [];
            let before = height();
            const look = () => {
                const now = height();
                if (now < before - 1) window.falls.push([before, now]);
                before = now;
                requestAnimationFrame(look);
            };
            requestAnimationFrame(look);
        }""",
        anchor,
    )
    go_to(page, 12 * PER_PAGE)
    for row in (5 * PER_PAGE, 3, 11 * PER_PAGE):
        go_to(page, row)
    assert page.evaluate("falls") == []


def test_an_error_leaves_no_row_hidden(page: Page, invented: InventedList) -> None:
    page.goto(f"{CONSOLE}/rows")
    page.evaluate(
        """() => {
            const process = htmx.process;
            htmx.process = (row) => {
                if (row.id !== "row-37") return process(row);
                htmx.process = process;
                throw new Error("once");
            };
        }"""
    )
    go_to(page, 6 * PER_PAGE)
    rows = in_document(page)
    assert rows[PER_PAGE:] == list(range(rows[PER_PAGE], rows[-1] + 1))
    expect(page.locator("tr[id][hidden]")).to_have_count(0)
    assert (
        page.evaluate("document.querySelector('tbody').getBoundingClientRect().height")
        == (rows[-1] + 1) * ROW_PX
    )


def test_rows_with_the_focus_stay(page: Page, invented: InventedList) -> None:
    page.goto(f"{CONSOLE}/rows")
    go_to(page, PER_PAGE)
    page.locator(f"#open-{PER_PAGE + 3}").focus()
    for row in range(PER_PAGE, 30 * PER_PAGE, 12):
        go_to(page, row)
    expect(page.locator(f"#open-{PER_PAGE + 3}")).to_be_focused()


def test_a_refresh_leaves_the_rows_that_are_read_and_their_places(page: Page, invented: InventedList) -> None:
    page.goto(f"{CONSOLE}/rows")
    for row in range(0, 30 * PER_PAGE, 12):
        go_to(page, row)
    go_to(page, 20 * PER_PAGE)
    page.wait_for_load_state("networkidle")  # nothing near is missing any more
    before, height = in_document(page), "document.querySelector('tbody').getBoundingClientRect().height"
    tall = page.evaluate(height)
    invented.newest = -3
    page.evaluate("htmx.trigger('#part', 'refresh')")
    expect(page.get_by_role("button")).to_have_text("3 new")
    assert (in_document(page), page.evaluate(height)) == (before, tall)
    go_to(page, 12 * PER_PAGE)
    page.get_by_role("button").click()
    expect(page.locator("tr[id]")).to_have_count(PER_PAGE)
    assert in_document(page) == list(range(-3, PER_PAGE - 3))
    scroll_to(page, 10 * ROW_PX)
    page.wait_for_function("() => document.querySelectorAll('tr[id]').length > 25")
    assert in_document(page)[: PER_PAGE + 1] == list(range(-3, PER_PAGE - 2))


def test_a_page_that_cannot_be_had_is_asked_for_again(page: Page, invented: InventedList) -> None:
    page.goto(f"{CONSOLE}/rows")
    page.route("**/rows?cursor=25", lambda route: route.abort(), times=1)
    scroll_to(page, 2 * ROW_PX)
    page.wait_for_function(
        "() => window.performance.getEntriesByType('resource').some((each) => each.name.endsWith('cursor=25'))"
    )
    assert len(in_document(page)) == PER_PAGE
    scroll_to(page, 3 * ROW_PX)
    page.wait_for_function("() => document.querySelectorAll('tr[id]').length > 25")


def test_at_the_end_a_page_that_could_not_be_had_comes_without_a_scroll(
    page: Page, invented: InventedList
) -> None:
    page.goto(f"{CONSOLE}/rows")
    page.route("**/rows?cursor=25", lambda route: route.fulfill(status=503), times=2)
    scroll_to(page, 10**7)
    page.wait_for_function("() => document.querySelectorAll('tr[id]').length > 25")
    assert in_document(page)[: PER_PAGE + 1] == list(range(PER_PAGE + 1))


def test_a_page_that_is_never_answered_is_given_up_and_asked_for_again(
    page: Page, invented: InventedList
) -> None:
    page.clock.install()
    page.goto(f"{CONSOLE}/rows")
    unanswered: list[Route] = []
    page.route("**/rows?cursor=25", lambda route: unanswered.append(route), times=1)
    with page.expect_request("**/rows?cursor=25"):
        scroll_to(page, 10**7)
        page.clock.run_for(100)  # a frame, in which the scroll is noticed
    with page.expect_request("**/rows?cursor=25"):
        for _ in range(4):
            page.clock.run_for(5_000)
    page.wait_for_function("() => document.querySelectorAll('tr[id]').length > 25")
    assert len(unanswered) == 1


def test_a_refresh_of_a_long_list_handles_only_the_rows_that_it_brings(
    page: Page, invented: InventedList
) -> None:
    page.goto(f"{CONSOLE}/rows")
    for row in range(0, 12 * PER_PAGE, 12):
        go_to(page, row)
    page.wait_for_load_state("networkidle")
    assert len(in_document(page)) > 4 * PER_PAGE
    page.evaluate(
        """() => {
            window.handled = [];
            document.addEventListener("htmx:load", ({ detail }) => handled.push(detail.elt.id));
        }"""
    )
    invented.newest = -3
    page.evaluate("htmx.trigger('#part', 'refresh')")
    expect(page.get_by_role("button")).to_have_text("3 new")
    page.wait_for_function("() => handled.length > 0")
    assert page.evaluate("handled") == [f"row-{number}" for number in range(PER_PAGE - 3)]


def test_a_tall_window_has_the_rows_that_it_shows_and_comes_to_rest(
    page: Page, invented: InventedList
) -> None:
    page.goto(f"{CONSOLE}/rows")
    for row in range(0, 12 * PER_PAGE, 12):
        go_to(page, row)
    page.set_viewport_size({"width": 2160, "height": 3840})
    page.evaluate("document.querySelector('.table-scroll').style.height = '3700px'")
    scroll_to(page, 6 * PER_PAGE * ROW_PX)
    page.wait_for_load_state("networkidle")  # never, if pages are put in and taken out in turn
    seen = visible(page)
    assert seen == list(range(seen[0], seen[0] + len(seen)))
    assert len(seen) >= 3700 // ROW_PX
