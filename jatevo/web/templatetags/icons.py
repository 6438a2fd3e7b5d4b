"""The console's icons: line drawings on a 24 by 24 grid, drawn in the colour of the text beside them.

An icon is decoration: it is hidden from assistive technology, and a word stands beside it.
"""

from functools import lru_cache

from django.template import TemplateSyntaxError
from django.utils.html import format_html
from django.utils.safestring import SafeString

# Each drawing is the `d` of one path, stroked and not filled.
DRAWINGS: dict[str, str] = {
    # places
    "overview": "M4 13h6V4H4zM14 20h6v-9h-6zM4 20h6v-3H4zM14 7h6V4h-6z",
    "nodes": "M4 5h16v6H4zM4 13h16v6H4zM8 8h.01M8 16h.01M12 8h5M12 16h5",
    "receipts": "M6 3h12v18l-3-2-3 2-3-2-3 2zM9 8h6M9 12h6",
    "earnings": "M4 7h14a2 2 0 0 1 2 2v9a2 2 0 0 1-2 2H6a2 2 0 0 1-2-2zM4 7a2 2 0 0 1 2-2h11M16 13.5h.01",
    "run": "M5 4v16l14-8z",
    "docs": "M5 4h5a2 2 0 0 1 2 2v14a2 2 0 0 0-2-2H5zM19 4h-5a2 2 0 0 0-2 2v14a2 2 0 0 1 2-2h5z",
    "admin": "M4 7h9M17 7h3M4 17h3M11 17h9M13 5v4h4V5zM7 15v4h4v-4z",
    # states
    "pending": "M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18zM12 7v5l3 2",
    "active": "M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18zM8 12.5l2.5 2.5 5.5-6",
    "quarantine": "M12 3l7 3v5c0 5-3 8-7 10-4-2-7-5-7-10V6zM12 8v5M12 16.5h.01",
    "offline": "M6.3 7A8 8 0 1 0 17.7 7M12 3v9",
    "check": "M5 12.5l4.5 4.5L19 7",
    "cross": "M6 6l12 12M18 6L6 18",
    "warning": "M12 4l9 16H3zM12 10v4.5M12 17.2h.01",
    "info": "M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18zM12 11v5M12 7.8h.01",
    "unknown": "M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18zM8 12h8",
    "clock": "M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18zM12 7v5h4",
    "valid": "M12 3l7 3v5c0 5-3 8-7 10-4-2-7-5-7-10V6zM8.7 12l2.4 2.4 4.2-4.7",
    "invalid": "M12 3l7 3v5c0 5-3 8-7 10-4-2-7-5-7-10V6zM9.5 9.5l5 5M14.5 9.5l-5 5",
    # things
    "bolt": "M13 3L5 14h6l-1 7 8-11h-6z",
    "box": "M4 8l8-4 8 4v8l-8 4-8-4zM4 8l8 4 8-4M12 12v8",
    "chip": "M7 7h10v10H7zM10 3v4M14 3v4M10 17v4M14 17v4M3 10h4M3 14h4M17 10h4M17 14h4",
    "file": "M6 3h8l4 4v14H6zM14 3v4h4",
    "globe": "M12 3a9 9 0 1 1 0 18 9 9 0 0 1 0-18zM3 12h18M12 3c3 3 3 15 0 18M12 3c-3 3-3 15 0 18",
    "heartbeat": "M3 12h4l2.5-6 4 12 2.5-6h5",
    "key": "M8 11a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM11 12l8-8M16 7l3 3",
    "laptop": "M5 5h14v10H5zM2 19h20",
    "leaf": "M5 19c0-9 5-14 15-14 0 10-5 14-12 14H5zM5 19l8-8",
    "lock": "M6 11h12v9H6zM8.5 11V8a3.5 3.5 0 0 1 7 0v3",
    "model": "M12 3l8 4.5v9L12 21l-8-4.5v-9zM12 12l8-4.5M12 12v9M12 12L4 7.5",
    "server": "M5 4h14v7H5zM5 13h14v7H5zM9 7.5h.01M9 16.5h.01",
    "terminal": "M4 5h16v14H4zM7.5 9.5L10 12l-2.5 2.5M12.5 14.5H16",
    "user": "M12 4a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM4.5 20c1-4 4-5.5 7.5-5.5s6.5 1.5 7.5 5.5",
    "wallet": "M4 7h14a2 2 0 0 1 2 2v9a2 2 0 0 1-2 2H6a2 2 0 0 1-2-2zM4 7a2 2 0 0 1 2-2h11M16 13.5h.01",
    # actions
    "copy": "M9 9h11v11H9zM5 15H4V4h11v1",
    "download": "M12 4v11M7.5 11l4.5 4.5 4.5-4.5M4 20h16",
    "external": "M13 5h6v6M19 5l-9 9M17 14v5H5V7h5",
    "eye": "M2.5 12C5 7.5 8 6 12 6s7 1.5 9.5 6c-2.5 4.5-5.5 6-9.5 6s-7-1.5-9.5-6z"
    "M12 9.5a2.5 2.5 0 1 1 0 5 2.5 2.5 0 0 1 0-5z",
    "filter": "M4 5h16l-6 8v6l-4-2v-4z",
    "logout": "M14 4H5v16h9M10 12h10M16.5 8.5L20 12l-3.5 3.5",
    "dots": "M5 11h.5v2H5zM11.8 11h.5v2h-.5zM18.5 11h.5v2h-.5z",
    "menu": "M4 7h16M4 12h16M4 17h16",
    "plus": "M12 5v14M5 12h14",
    "refresh": "M19 12a7 7 0 1 1-2-4.9L19 9M19 4v5h-5",
    "search": "M11 4a7 7 0 1 1 0 14 7 7 0 0 1 0-14zM16 16l4.5 4.5",
    "zoom-out": "M11 4a7 7 0 1 1 0 14 7 7 0 0 1 0-14zM16 16l4.5 4.5M8 11h6",
    "bookmark": "M6 4h12v16l-6-4.5L6 20z",
    "chevron-down": "M6 9l6 6 6-6",
    "chevron-left": "M15 6l-6 6 6 6",
    "chevron-right": "M9 6l6 6-6 6",
    # themes
    "sun": "M12 8a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM12 2.5v2M12 19.5v2M2.5 12h2M19.5 12h2"
    "M5.3 5.3l1.4 1.4M17.3 17.3l1.4 1.4M5.3 18.7l1.4-1.4M17.3 6.7l1.4-1.4",
    "moon": "M19.5 14.5A8 8 0 0 1 9.5 4.5a8 8 0 1 0 10 10z",
    "monitor": "M3 5h18v11H3zM9 20h6M12 16v4",
}


@lru_cache(maxsize=512, typed=True)  # a page has hundreds of icons, of a few kinds
def icon(name: str, classes: str = "size-4") -> SafeString:
    """`{% icon "nodes" %}`, `{% icon "nodes" "size-5" %}`: inline SVG. An unknown name is an error."""
    drawing = DRAWINGS.get(name)
    if drawing is None:
        raise TemplateSyntaxError(
            f"There is no icon {name!r}; DRAWINGS in jatevo/web/templatetags/icons.py has them."
        )
    return format_html(
        '<svg class="shrink-0 {}" viewBox="0 0 24 24" width="16" height="16" aria-hidden="true"'
        ' focusable="false" fill="none" stroke="currentColor" stroke-width="1.75" stroke-linecap="round"'
        ' stroke-linejoin="round"><path d="{}"/></svg>',
        classes,
        drawing,
    )
