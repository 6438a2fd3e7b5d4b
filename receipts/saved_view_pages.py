"""Pages that save, rename and delete views of the receipts page. Each answers with the list again."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_POST

from jatevo.accounts.permissions import Permission, require, user_of
from jatevo.accounts.saved_views import ViewNameForm, ViewNotSaved, delete_view, rename_view, save_view
from receipts.forms import tidy
from receipts.models import ReceiptView
from receipts.saved_views import kept_of


@require_POST
@require(Permission.VIEW_RECEIPTS)
def keep(request: HttpRequest) -> HttpResponse:
    """Saves the current search under a name."""
    if name := _name(request):
        try:
            kept = kept_of(_query(request), at=timezone.now()).urlencode()
            save_view(ReceiptView, name=name, query=kept, by=user_of(request))
            messages.success(request, f"View “{name}” saved.")
        except ViewNotSaved as error:
            messages.error(request, str(error))
    return _list(request)


@require_POST
@require(Permission.VIEW_RECEIPTS)
def rename(request: HttpRequest, view_id: int) -> HttpResponse:
    """Renames one of the person's own views."""
    if name := _name(request):
        try:
            if rename_view(ReceiptView, view_id=view_id, name=name, by=user_of(request)):
                messages.success(request, f"The view is now “{name}”.")
        except ViewNotSaved as error:
            messages.error(request, str(error))
    return _list(request)


@require_POST
@require(Permission.VIEW_RECEIPTS)
def forget(request: HttpRequest, view_id: int) -> HttpResponse:
    """Deletes one of the person's own views."""
    if delete_view(ReceiptView, view_id=view_id, by=user_of(request)):
        messages.success(request, "View deleted.")
    return _list(request)


def _name(request: HttpRequest) -> str:
    """The name from the form, or '' after a message that says what is wrong with it."""
    form = ViewNameForm(request.POST)
    if form.is_valid():
        return str(form.cleaned_data["name"])
    for texts in form.errors.values():
        messages.error(request, " ".join(map(str, texts)))
    return ""


def _query(request: HttpRequest) -> QueryDict:
    """The search that the page showed."""
    return QueryDict(request.POST.get("query", ""))


def _list(request: HttpRequest) -> HttpResponse:
    query = tidy(_query(request)).urlencode()
    return redirect(f"{reverse('receipts:list')}{'?' if query else ''}{query}")
