"""Markdown becomes HTML that is safe, linked, and usable with the keyboard."""

import pytest

from jatevo.docs.markdown import Rendered, anchor_of, render


def page(source: str) -> Rendered:
    return render(f"# Title\n\n{source}", link=lambda target: None if "gone" in target else f"/docs/{target}")


@pytest.mark.parametrize(
    "hostile",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "[a](javascript:alert(1))",
        "[a](data:text/html;base64,PHNjcmlwdD4=)",
        "## <svg onload=alert(1)>",
        "```sh\n</code></pre><script>alert(1)</script>\n```",
        '```sh "><script>alert(1)</script>\nx\n```',
        "`<script>alert(1)</script>`",
        "| <b onclick=alert(1)> |\n| --- |\n| <iframe> |",
    ],
)
def test_html_in_a_page_is_shown_as_text(hostile: str) -> None:
    html = page(hostile).html
    for tag in ("<script", "<img", "<svg onload", "<iframe", "<b onclick", 'href="javascript', 'href="data'):
        assert tag not in html


def test_headings_have_anchors_of_their_own() -> None:
    shown = page("## What is `it`?\n\n### Same\n\n## Same\n")
    assert [each.anchor for each in shown.headings] == ["what-is-it", "same", "same-1"]
    assert '<h2 id="same-1">' in shown.html
    assert 'href="#what-is-it" aria-label="Link to “What is it?”"' in shown.html


def test_anchors_are_those_of_github() -> None:
    assert anchor_of("POST /v1/nodes/{node_id}/keys") == "post-v1nodesnode_idkeys"
    assert anchor_of("4. See it working") == "4-see-it-working"
    assert anchor_of("???") == "section"


def test_code_is_kept_to_the_letter_and_has_a_copy_button() -> None:
    html = page('```sh\necho "$A" && cat <<X > y\n```').html
    assert '<code id="code-1">echo "$A" &amp;&amp; cat &lt;&lt;X &gt; y</code>' in html
    assert 'data-copy-target="code-1"' in html
    assert 'tabindex="0" role="region" aria-label="Shell, block 1"' in html


def test_tables_scroll_by_themselves_and_say_what_they_are() -> None:
    html = page("## Limits\n\n| a |\n| --- |\n| b |\n").html
    assert 'role="region" tabindex="0" aria-label="Limits, table 1"' in html
    assert '<th scope="col">a</th>' in html


def test_notes_have_a_tone() -> None:
    html = page("> [!WARNING]\n> Be *careful*.\n").html
    assert '<div class="doc-note tone-warn">' in html
    assert "[!WARNING]" not in html
    assert "Be <em>careful</em>." in html


def test_a_plain_quotation_stays_one() -> None:
    assert "<blockquote>" in page("> said\n").html


def test_links_to_files_that_are_no_pages_become_text() -> None:
    html = page("[here](a.md) and [there](gone.md) and [out](https://example.org/)").html
    assert 'href="/docs/a.md"' in html
    assert "there</a>" not in html
    assert "and there and" in html.replace("<span>", "").replace("</span>", "")
    assert 'href="https://example.org/"' in html


def test_a_page_without_a_title_is_refused() -> None:
    with pytest.raises(ValueError, match="title"):
        render("text", link=lambda target: target)


def test_the_lead_is_the_first_paragraph_as_text() -> None:
    assert page("Some *words* in `two`\nlines.\n\nMore.").lead == "Some words in two lines."
