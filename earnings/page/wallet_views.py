"""The wallet page: where an organisation is paid, its history, and the forms that change it.

Only people of the organisation change its wallets. An admin of another one reads them.
"""

from datetime import datetime
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from earnings.figures.query import read_query
from earnings.figures.scope import NotYours
from earnings.models import Wallet, WalletState
from earnings.page.wallet_forms import ChangeForm, DecideForm
from earnings.wallets import WalletError, change, changes_on_hold, confirm, stop, wallets_of_agents
from jatevo.accounts.actions import OneTimePasswordRequired, WrongCredentials, has_second_factor
from jatevo.accounts.forms import IdentityForm
from jatevo.accounts.login_limits import refusal_words
from jatevo.accounts.models import Org, User
from jatevo.accounts.permissions import Permission, allowed, require, user_of
from jatevo.web.address import client_address
from jatevo.web.errors import ApiError
from nodes.models import Node

HISTORY_SHOWN = 50


@never_cache
@sensitive_post_parameters("current", "otp")
@require_http_methods(["GET", "HEAD", "POST"])
@require(Permission.VIEW_RECEIPTS)  # every role: any member may stop a change
def wallet(request: HttpRequest) -> HttpResponseBase:
    """The wallets of the organisation. A POST sets a new address."""
    user, now = user_of(request), timezone.now()
    org = _org(request, user, now)
    if not allowed(user, Permission.VIEW_WALLETS):
        return _only_changes(request, org, now)
    may_change = allowed(user, Permission.MANAGE_WALLET) and user.org_id == org.pk
    form = _change_form(request, org, user) if may_change else None
    if request.method == "POST":
        if form is None:
            raise PermissionDenied
        if form.is_valid() and _changed(request, form, org, user, now):
            messages.success(
                request, "The wallet was changed. All members were told. Payouts to it wait for 72 hours."
            )
            return redirect("earnings:wallet")
    context = _wallets(org, now) | {"org": org, "form": form, "own": user.org_id == org.pk}
    return render(
        request, "earnings/wallet/page.html", context, status=422 if form is not None and form.errors else 200
    )


@never_cache
@sensitive_post_parameters("current", "otp")
@require_http_methods(["GET", "HEAD", "POST"])
@require(Permission.MANAGE_WALLET)
def confirm_wallet(request: HttpRequest, wallet_id: int) -> HttpResponse:
    """Confirms a proposed wallet, with the password."""
    user = user_of(request)
    proposed = _own(user, wallet_id, WalletState.PROPOSED)
    form = _decide_form(request, user)
    del form.fields["reason"]
    if request.method == "POST" and form.is_valid():
        at = timezone.now()
        proof = _proof(request, form, at)
        if _acted(form, lambda: confirm(wallet=proposed, by=user, **proof)):
            messages.success(
                request, "The wallet was confirmed. All members were told. Payouts to it wait for 72 hours."
            )
            return redirect("earnings:wallet")
    return _ask(request, form, proposed, "Confirm wallet", "Confirm")


@never_cache
@sensitive_post_parameters("current", "otp")
@require_http_methods(["GET", "HEAD", "POST"])
@require(Permission.VIEW_RECEIPTS)
def stop_change(request: HttpRequest, wallet_id: int) -> HttpResponse:
    """Stops a change within its 72 hours. Any member of the organisation may, with their password."""
    user = user_of(request)
    changed = _own(user, wallet_id, WalletState.CONFIRMED)
    form = _decide_form(request, user)
    if request.method == "POST" and form.is_valid():
        at = timezone.now()
        proof = _proof(request, form, at)
        reason = form.cleaned_data["reason"]
        if _acted(form, lambda: stop(wallet=changed, by=user, reason=reason, **proof)):
            holds = Wallet.objects.filter(
                org=changed.org, node=changed.node, state=WalletState.CONFIRMED
            ).exists()
            after = "The former wallet holds again." if holds else "There is no wallet now."
            messages.success(request, f"The change was stopped. {after}")
            sees = holds or allowed(user, Permission.VIEW_WALLETS)
            return redirect("earnings:wallet" if sees else settings.LOGIN_REDIRECT_URL)
    return _ask(request, form, changed, "Stop this change", "Stop the change")


def _org(request: HttpRequest, user: User, at: datetime) -> Org:
    """The organisation asked for, or the person's own."""
    if allowed(user, Permission.VIEW_WALLETS) and request.GET.get("org"):
        try:
            asked = read_query({"org": request.GET["org"]}, user, at=at).org
        except NotYours as error:
            raise Http404 from error
        if asked is not None:
            return asked
    if user.org is None:
        raise Http404
    return user.org


def _wallets(org: Org, at: datetime) -> dict[str, Any]:
    known = list(Wallet.objects.filter(org=org).order_by("-id")[:HISTORY_SHOWN])
    return {
        "confirmed": [each for each in known if each.state == WalletState.CONFIRMED],
        "proposals": [each for each in known if each.state == WalletState.PROPOSED],
        "history": [each for each in known if each.state in (WalletState.REPLACED, WalletState.STOPPED)],
        "on_hold": changes_on_hold(org, at=at),
        "agents": wallets_of_agents(org),
        "now": at,
    }


def _only_changes(request: HttpRequest, org: Org, at: datetime) -> HttpResponse:
    """Members who may not see wallets see a change that they can stop, and nothing else."""
    on_hold = changes_on_hold(org, at=at)
    if not on_hold or request.method == "POST":
        raise PermissionDenied
    return render(request, "earnings/wallet/changes.html", {"org": org, "on_hold": on_hold})


def _own(user: User, wallet_id: int, state: WalletState) -> Wallet:
    """A wallet of the person's own organisation, or 404."""
    found = Wallet.objects.select_related("org", "node").filter(pk=wallet_id, org=user.org, state=state)
    if user.org is None or (wallet := found.first()) is None:
        raise Http404
    return wallet


def _change_form(request: HttpRequest, org: Org, user: User) -> ChangeForm:
    nodes = Node.objects.filter(org=org).order_by("pk")
    asks = has_second_factor(user)
    if request.method == "POST":
        return ChangeForm(request.POST, asks_for_code=asks, nodes=nodes)
    return ChangeForm(initial=_offered(request, org), asks_for_code=asks, nodes=nodes)


def _offered(request: HttpRequest, org: Org) -> dict[str, str]:
    """What the link fills in. Only addresses that agents of the organisation registered: anybody can make a link."""
    asked = request.GET.get("chain", ""), request.GET.get("address", "")
    initial = {"node": request.GET.get("node", "")}
    if any(asked) and asked in {(each.chain, each.address) for each in wallets_of_agents(org)}:
        initial |= {"chain": asked[0], "address": asked[1]}
    return initial


def _decide_form(request: HttpRequest, user: User) -> DecideForm:
    filled = request.POST if request.method == "POST" else None
    return DecideForm(filled, asks_for_code=has_second_factor(user))


def _changed(request: HttpRequest, form: ChangeForm, org: Org, user: User, at: datetime) -> bool:
    sent = form.cleaned_data
    proof = _proof(request, form, at)
    return _acted(
        form,
        lambda: change(
            org=org, node=sent["node"], chain=sent["chain"], address=sent["address"], by=user, **proof
        ),
        field="address",
    )


def _proof(request: HttpRequest, form: IdentityForm, at: datetime) -> dict[str, Any]:
    return {
        "password": form.cleaned_data["current"],
        "otp": form.cleaned_data.get("otp", ""),
        "network_address": client_address(request),
        "at": at,
    }


def _acted(form: IdentityForm, act: Any, field: str | None = None) -> bool:
    """Whether it was done. If not, the form says why."""
    try:
        act()
    except WalletError as error:
        form.add_error(field, str(error))
    except OneTimePasswordRequired:
        form.add_error(None, "Enter the code from your authenticator app, and your password again.")
    except WrongCredentials:
        wrong = "The password or the code is wrong." if "otp" in form.fields else "The password is wrong."
        form.add_error("current", wrong)
    except ApiError as refused:
        form.add_error(None, refusal_words(refused))
    return not form.errors


def _ask(request: HttpRequest, form: IdentityForm, wallet: Wallet, title: str, button: str) -> HttpResponse:
    context = {"form": form, "wallet": wallet, "title": title, "button": button}
    return render(request, "earnings/wallet/decide.html", context, status=422 if form.errors else 200)
