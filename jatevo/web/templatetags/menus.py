"""Entries of menus. Each row of a list has a menu, so an entry is one tag."""

from django.utils.html import format_html
from django.utils.safestring import SafeString

from jatevo.web.routes import path_to
from jatevo.web.templatetags.icons import icon as drawn


def menu_link(label: str, icon: str, url: str, download: bool = False) -> SafeString:
    """`{% menu_link "Maintenance" "clock" url %}`: an entry of a `<ul class="row-menu">` or `<ul class="menu">`."""
    return format_html(
        '<li><a class="nav-link" href="{}"{}>{}{}</a></li>',
        url,
        " download" if download else "",
        drawn(icon),
        label,
    )


def menu_link_to(label: str, icon: str, route: str, name: str, download: bool = False) -> SafeString:
    """`{% menu_link_to "Maintenance" "clock" "nodes:maintenance" node.pk %}`: to a route that takes one name."""
    return menu_link(label, icon, path_to(route, name), download)
