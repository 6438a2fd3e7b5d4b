"""Pages for signing in and out, the person's password and the time zone."""

from urllib.parse import urlencode

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.middleware.csrf import rotate_token
from django.shortcuts import redirect, render, resolve_url
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_POST

from jatevo.accounts import cookies
from jatevo.accounts.actions import (
    OneTimePasswordRequired,
    WrongCredentials,
    change_password,
    set_time_zone,
    sign_in,
    sign_out,
)
from jatevo.accounts.devices import device_in, remember_device
from jatevo.accounts.forms import LoginForm, PasswordForm, TimeZoneForm
from jatevo.accounts.login_limits import refusal_words
from jatevo.accounts.onward import onward_path
from jatevo.accounts.permissions import user_of
from jatevo.accounts.step_up import forget_identity
from jatevo.accounts.time_zones import remember_zone, zone_of
from jatevo.web.address import client_address
from jatevo.web.errors import ApiError

NO_MATCH = "The email address or password is wrong."
NO_MATCH_WITH_OTP = "The email address, password or one-time code is wrong."


@sensitive_post_parameters()
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def login(request: HttpRequest) -> HttpResponse:
    """Context: `form` (email, password, and otp once asked for), `next`."""
    onward = onward_path(request)
    if request.method != "POST":
        if request.user.is_authenticated:
            return HttpResponseRedirect(onward)
        return _login_page(request, LoginForm())
    form = LoginForm(request.POST)
    if not form.is_valid():
        return _login_page(request, form, status=422)
    at = timezone.now()
    try:
        signed_in = sign_in(
            email=form.cleaned_data["email"],
            password=form.cleaned_data["password"],
            otp=form.cleaned_data.get("otp", ""),
            address=client_address(request),
            device=device_in(request),
            at=at,
        )
    except OneTimePasswordRequired:
        form.ask_for_otp()
        return _login_page(request, form, status=422)
    except WrongCredentials:
        form.add_error(None, NO_MATCH_WITH_OTP if "otp" in form.fields else NO_MATCH)
        return _login_page(request, form, status=422)
    except ApiError as refused:
        form.add_error(None, refusal_words(refused))
        return _refusal(_login_page(request, form, status=refused.status), refused)
    _forget(request)  # a previous user of this browser may not have signed out
    rotate_token(request)
    response = HttpResponseRedirect(onward)
    cookies.set_login(response, signed_in, at=at)
    remember_device(response, signed_in.user)
    return response


@require_POST
def logout(request: HttpRequest) -> HttpResponse:
    family = cookies.family_in(request)
    if family is not None:
        sign_out(family=family, at=timezone.now())
    _forget(request)
    response = redirect(settings.LOGIN_REDIRECT_URL)
    cookies.clear_login(response)
    forget_identity(response)
    return response


@sensitive_post_parameters()
@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def password(request: HttpRequest) -> HttpResponse:
    """Context: `form` (current, new, again)."""
    user = user_of(request)
    if request.method != "POST":
        return _password_page(request, PasswordForm(user))
    form = PasswordForm(user, request.POST)
    if not form.is_valid():
        return _password_page(request, form, status=422)
    at = timezone.now()
    try:
        signed_in = change_password(
            by=user,
            current=form.cleaned_data["current"],
            new=form.cleaned_data["new"],
            address=client_address(request),
            at=at,
        )
    except WrongCredentials:
        form.add_error("current", "This is not your current password.")
        return _password_page(request, form, status=422)
    except ApiError as refused:
        form.add_error(None, refusal_words(refused))
        return _refusal(_password_page(request, form, status=refused.status), refused)
    messages.success(request, "Password changed. You are signed out everywhere else.")
    response = redirect("accounts:password")
    cookies.set_login(response, signed_in, at=at)
    remember_device(response, signed_in.user)
    return response


@require_http_methods(["GET", "HEAD", "POST"])
def time_zone(request: HttpRequest) -> HttpResponse:
    """The zone in which times are shown: a person's own choice, or a visitor's cookie.

    Context: `form` (zone), `next`.
    """
    form = TimeZoneForm(request.POST or None, initial={"zone": zone_of(request).key})
    if not form.is_valid():
        context = {"form": form, "next": onward_path(request)}
        return render(request, "accounts/time_zone.html", context, status=422 if form.errors else 200)
    name = form.cleaned_data["zone"]
    response = redirect(onward_path(request))
    if request.user.is_authenticated:
        set_time_zone(by=user_of(request), name=name)
    else:
        remember_zone(response, name)
    return response


def admin_login(request: HttpRequest) -> HttpResponse:
    """Replaces Django admin's login page.

    Visitors are sent to the login page, others without access get a refusal.
    """
    if request.user.is_authenticated:
        raise PermissionDenied
    query = urlencode({"next": request.GET.get("next") or resolve_url("admin:index")})
    return HttpResponseRedirect(f"{resolve_url('accounts:login')}?{query}")


def admin_password_change(request: HttpRequest) -> HttpResponse:
    return redirect("accounts:password")


def _forget(request: HttpRequest) -> None:
    """Removes the session and unread messages, so that the browser's next user does not get them."""
    request.session.flush()
    list(messages.get_messages(request))


def _login_page(request: HttpRequest, form: LoginForm, status: int = 200) -> HttpResponse:
    return render(request, "accounts/login.html", {"form": form, "next": onward_path(request)}, status=status)


def _password_page(request: HttpRequest, form: PasswordForm, status: int = 200) -> HttpResponse:
    return render(request, "accounts/password.html", {"form": form}, status=status)


def _refusal(page: HttpResponse, refused: ApiError) -> HttpResponse:
    for name, value in refused.headers.items():
        page[name] = value
    return page
