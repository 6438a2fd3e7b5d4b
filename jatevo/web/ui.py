"""/ui/, only in DEBUG: every component in every state, for people and for the accessibility test."""

from datetime import timedelta
from decimal import Decimal

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import path
from django.utils import timezone

from jatevo.web.figures import Figure
from jatevo.web.templatetags.icons import DRAWINGS

app_name = "ui"

# A day with a gap of two hours, to show a trend with a gap.
TREND = [12, 18, 25, 31, 28, 40, 52, 61, 58, 44, None, None, 39, 47, 66, 72, 80, 76, 69, 55, 43, 30, 22, 17]
RECEIPT = '{\n  "version": "1.0",\n  "request_id": "r_01J8KQ",\n  "node_id": "macbook-001"\n}'


class SampleForm(forms.Form):
    """One of each kind of input."""

    q = forms.CharField(label="Search", required=False)
    node_id = forms.CharField(label="Node id", help_text="1 to 64 of a-z, 0-9, dot, dash, underscore.")
    region = forms.ChoiceField(
        label="Region", choices=[("", "Any"), ("ap-southeast", "ap-southeast")], required=False
    )
    hedged = forms.BooleanField(label="Hedged only", required=False)
    wallet = forms.CharField(label="Wallet", disabled=True, required=False, initial="7xKX…9fQm")


def index(request: HttpRequest) -> HttpResponse:
    """Every component in every state. `?toast=1` shows the toasts too."""
    now = timezone.now()
    if request.GET.get("toast"):
        messages.success(request, "Node macbook-001 was cleared.")
        messages.error(request, "The token could not be made.")
    figures = {
        "known": Figure.of(1284, as_of=now - timedelta(seconds=4)),
        "zero": Figure.of(0, as_of=now - timedelta(seconds=4)),
        "unknown": Figure.of(None, as_of=now - timedelta(seconds=4), if_none="No probe measured latency yet"),
        "stale": Figure.of(312.4, as_of=now - timedelta(minutes=7)).aged("Metrics cannot be asked"),
    }
    context = {
        "figures": figures,
        "trend": TREND,
        "flat": [0] * 24,
        "moments": [now - timedelta(seconds=5), now - timedelta(minutes=3), now - timedelta(days=2), None],
        "form": SampleForm(auto_id="sample_%s"),
        "wrong": SampleForm({"node_id": "", "hedged": "on"}, auto_id="wrong_%s"),
        "page": Paginator(range(1, 301), 25).page(5),
        "tabs": [
            {"label": "Metrics", "url": "?tab=metrics", "active": True},
            {"label": "Receipts", "url": "?tab=receipts", "active": False, "count": 10},
            {"label": "Hardware", "url": "?tab=hardware", "active": False},
        ],
        "applied": [{"label": "Region: ap-southeast", "url": "?"}, {"label": "Hedged", "url": "?"}],
        "receipt": RECEIPT,
        "orgs": [("", "Any"), ("1", "Org A"), ("2", "Org B & sons")],
        "usd": Decimal("1234.5678901"),
        "icons": DRAWINGS,
        "nothing": None,
    }
    return render(request, "ui/index.html", context)


def sample_drawer(request: HttpRequest) -> HttpResponse:
    """Sample content of a drawer."""
    return render(request, "ui/drawer.html")


urlpatterns = [
    path("", index, name="index"),
    path("drawer/", sample_drawer, name="drawer"),
]
