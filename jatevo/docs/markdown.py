"""Markdown to HTML: headings with anchors, scrolling tables, code with copy buttons, notes.

The source is our own, and HTML in it is shown as text. nh3 then leaves only what is listed here, so that
neither a slip in a page nor a description in the API's schema can bring a script.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape, unescape

import nh3
from django.template.loader import render_to_string
from django.utils.safestring import SafeString, mark_safe
from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict

_TONES = {"NOTE": "info", "TIP": "ok", "WARNING": "warn", "CAUTION": "bad"}
_NOTE = re.compile(rf"\[!({'|'.join(_TONES)})\]\n?")
_LANGUAGES = {
    "sh": "Shell", "json": "JSON", "yaml": "YAML", "python": "Python", "js": "JavaScript", "http": "HTTP",
    "ini": "Unit file", "sql": "SQL", "text": "Text", "": "Text", "xml": "XML",
}  # fmt: skip
_CODE = re.compile(r'<pre id="(code-\d+)" title="([^"]*)">(.*?)</pre>', re.DOTALL)
_METHOD = re.compile(r"<code>(GET|POST|DELETE|PUT|PATCH) (/[^<]*)</code>")

_TAGS = {
    "a", "blockquote", "br", "code", "del", "div", "em", "h2", "h3", "h4", "h5", "hr", "img", "li", "ol", "p",
    "pre", "span", "strong", "table", "tbody", "td", "th", "thead", "tr", "ul",
}  # fmt: skip
_ATTRIBUTES = {
    "a": {"href", "title", "class", "aria-label"},
    "div": {"class", "role", "aria-label", "tabindex"},
    "pre": {"id", "title"},
    "ol": {"start"},
    "th": {"scope", "class"},
    "td": {"class"},
    **{heading: {"id"} for heading in ("h2", "h3", "h4", "h5")},
    **{tag: {"class"} for tag in ("p", "span", "code", "ul")},
}


@dataclass(frozen=True)
class Heading:
    """A heading of a page. `level` is 2 to 4."""

    level: int
    text: str
    anchor: str


@dataclass(frozen=True)
class Section:
    """The text under one heading (under none: before the first), for the search."""

    heading: Heading | None
    text: str


@dataclass(frozen=True)
class Rendered:
    """A page as HTML. `lead` is its first paragraph as text."""

    title: str
    lead: str
    html: SafeString
    headings: tuple[Heading, ...]
    sections: tuple[Section, ...]


def render(source: str, *, link: Callable[[str], str | None]) -> Rendered:
    """Renders a page. Its first line is its title, `# …`.

    `link` gives the address for the target of a link that is no URL; with None the link becomes text.
    Raises ValueError if there is no title.
    """
    tokens = _parser().parse(source)
    if not tokens or tokens[0].type != "heading_open" or tokens[0].tag != "h1":
        raise ValueError("a page begins with # and its title")
    title, tokens = plain(tokens[1]), tokens[3:]
    headings = _anchored(tokens)
    _relink(tokens, link)
    _mark_notes(tokens)
    _name_tables(tokens, title)
    html = _parser().renderer.render(tokens, _parser().options, {})
    clean = nh3.clean(
        html, tags=_TAGS, attributes=_ATTRIBUTES, link_rel=None, url_schemes={"http", "https", "mailto"}
    )
    return Rendered(title, _lead(tokens), _finished(clean), tuple(headings), tuple(_sections(tokens)))


def anchor_of(text: str) -> str:
    """The anchor of a heading, as GitHub makes it: lower case, with hyphens for spaces."""
    kept = re.sub(r"[^\w\- ]", "", text.strip().lower())
    return kept.replace(" ", "-") or "section"


def plain(inline: Token) -> str:
    """The text of an inline token without its markup."""
    return "".join(
        " " if child.type in ("softbreak", "hardbreak") else child.content
        for child in inline.children or ()
        if child.type in ("text", "code_inline", "softbreak", "hardbreak", "image")
    )


def _parser() -> MarkdownIt:
    return _PARSER


def _anchored(tokens: Sequence[Token]) -> list[Heading]:
    found: list[Heading] = []
    taken: dict[str, int] = {}
    for at, token in enumerate(tokens):
        if token.type == "heading_open":
            text = plain(tokens[at + 1])
            anchor = anchor_of(text)
            seen = taken.get(anchor, 0)
            taken[anchor] = seen + 1
            anchor = f"{anchor}-{seen}" if seen else anchor
            token.attrSet("id", anchor)
            token.meta["text"] = text
            found.append(Heading(int(token.tag[1]), text, anchor))
    return found


def _relink(tokens: Sequence[Token], link: Callable[[str], str | None]) -> None:
    for token in tokens:
        unlinked = 0
        for child in token.children or ():
            if child.type == "link_open":
                target = str(child.attrGet("href"))
                address = target if re.match(r"[a-z]+:", target) else link(target)
                if address is None:
                    unlinked += 1
                    child.type, child.tag, child.hidden = "span_open", "span", True
                    child.attrs = {}
                else:
                    child.attrSet("href", address)
                    child.attrSet("class", "link")
            elif child.type == "link_close" and unlinked:
                unlinked -= 1
                child.type, child.tag, child.hidden = "span_close", "span", True


def _mark_notes(tokens: Sequence[Token]) -> None:
    """Blockquotes that begin with [!NOTE] and the like, as on GitHub."""
    for at, token in enumerate(tokens):
        if token.type != "blockquote_open" or at + 2 >= len(tokens):
            continue
        inline = tokens[at + 2]
        kind = _NOTE.match(inline.content) if inline.type == "inline" else None
        if kind and inline.children:
            token.attrSet("class", f"doc-note tone-{_TONES[kind[1]]}")
            token.tag = "div"
            _closing(tokens, at).tag = "div"
            del inline.children[: 2 if len(inline.children) > 1 else 1]
            inline.content = _NOTE.sub("", inline.content, count=1)


def _closing(tokens: Sequence[Token], at: int) -> Token:
    return next(
        each
        for each in tokens[at + 1 :]
        if each.type == "blockquote_close" and each.level == tokens[at].level
    )


def _name_tables(tokens: Sequence[Token], title: str) -> None:
    """Each table scrolls by itself, which screen readers announce with the name of its section."""
    name, seen = title, 0
    for token in tokens:
        if token.type == "heading_open":
            name = token.meta["text"]
        elif token.type == "table_open":
            seen += 1
            token.meta["name"] = f"{name}, table {seen}"


def _lead(tokens: Sequence[Token]) -> str:
    for at, token in enumerate(tokens):
        if token.type == "paragraph_open":
            return plain(tokens[at + 1])
    return ""


def _sections(tokens: Sequence[Token]) -> list[Section]:
    heading: Heading | None = None
    texts: list[str] = []
    found: list[Section] = []
    in_heading = False
    for token in tokens:
        if token.type == "heading_open":
            found.append(Section(heading, " ".join(texts)))
            heading = Heading(int(token.tag[1]), token.meta["text"], str(token.attrGet("id")))
            texts, in_heading = [], True
        elif token.type == "heading_close":
            in_heading = False
        elif token.type == "inline" and not in_heading:
            texts.append(plain(token))
        elif token.type in ("fence", "code_block"):
            texts.append(token.content)
    found.append(Section(heading, " ".join(texts)))
    return [each for each in found if each.heading or each.text]


def _finished(html: str) -> SafeString:
    """The cleaned HTML with what nh3 need not judge, because it is made here: copy buttons and methods."""
    html = _METHOD.sub(r'<code class="doc-route"><span class="doc-method">\1</span> \2</code>', html)
    html = _CODE.sub(lambda found: _code_block(found[1], unescape(found[2]), found[3]), html)
    return mark_safe(html)  # noqa: S308 - nh3 has cleaned what pages bring


def _code_block(id: str, label: str, code: str) -> str:
    safe = mark_safe(code)  # noqa: S308 - it has been through nh3
    name = f"{label}, block {id.removeprefix('code-')}"  # no two regions of a page have the same name
    return render_to_string("docs/code.html", {"id": id, "label": label, "name": name, "code": safe})


class _Renderer(RendererHTML):
    """Rules that differ from CommonMark's."""

    def heading_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return f'<{tokens[idx].tag} id="{escape(str(tokens[idx].attrGet("id")))}">'

    def heading_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        opening = tokens[idx - 2]
        anchor, text = escape(str(opening.attrGet("id"))), escape(opening.meta["text"])
        link = f'<a class="doc-anchor" href="#{anchor}" aria-label="Link to “{text}”">#</a>'
        return f" {link}</{tokens[idx].tag}>\n"

    def table_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        name = escape(tokens[idx].meta["name"])
        return f'<div class="doc-table" role="region" tabindex="0" aria-label="{name}"><table>\n'

    def table_close(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return "</table></div>\n"

    def th_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return '<th scope="col">'

    def td_open(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        return "<td>"

    def fence(self, tokens: Sequence[Token], idx: int, options: OptionsDict, env: EnvType) -> str:
        env["codes"] = env.get("codes", 0) + 1
        language, _, label = tokens[idx].info.strip().partition(" ")
        shown = escape(label or _LANGUAGES.get(language, language))
        code = escape(tokens[idx].content.rstrip("\n"), quote=False)
        return f'<pre id="code-{env["codes"]}" title="{shown}">{code}</pre>\n'

    code_block = fence


_PARSER = MarkdownIt("commonmark", {"html": False}, renderer_cls=_Renderer).enable(["table", "strikethrough"])
