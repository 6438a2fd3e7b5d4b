"""What a new machine fetches without signing in: its install script, its agent.yaml, and the agent.

The install code in the address is the secret. Reading uses nothing up; only registering does.
"""

from collections.abc import Callable
from functools import wraps

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import get_conditional_response
from django.utils.http import quote_etag
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from jatevo.web.address import client_network
from jatevo.web.throttling import hit
from nodes.models import Enrollment
from nodes.rules.credentials import token_of_install_code
from onboarding.agent_wheel import SOURCE, Wheel, agent_wheel
from onboarding.answers import config_text
from onboarding.install.script import InstallScript, install_script, refusing_script
from onboarding.install.services import service_template

View = Callable[..., HttpResponse]


def public(view: View) -> View:
    """For readers who are not signed in: limited by their address."""

    @require_safe
    @wraps(view)
    def limited(request: HttpRequest, *args: object, **kwargs: object) -> HttpResponse:
        hit("install", "address", client_network(request))
        return view(request, *args, **kwargs)

    return limited


def script_of(enrollment: Enrollment, code: str) -> InstallScript:
    """The install script of an enrolment, for whoever has its code."""
    newest = agent_wheel()
    return install_script(
        console=settings.BASE_URL,
        code=code,
        node_id=enrollment.node_id,
        wheel=newest.name,
        wheel_sha256=newest.sha256,
        least_python=newest.least_python,
        page=f"{settings.BASE_URL}{reverse('onboarding:enrollment', args=[enrollment.pk])}",
    )


@never_cache
@public
def script(request: HttpRequest, code: str) -> HttpResponse:
    """The install script. For a code that does not hold, a script that says so and stops."""
    found, problem = _enrollment_of(code)
    if found is None or problem:
        again = f"Create a new command: {settings.BASE_URL}{reverse('onboarding:start')}"
        status = 404 if found is None else 200  # curl -f would hide the reason
        return _text(refusing_script(problem, again), "text/x-shellscript", status=status)
    return _text(script_of(found, code).text, "text/x-shellscript")


@never_cache
@public
def config(request: HttpRequest, code: str) -> HttpResponse:
    """`agent.yaml` with the enrolment token, until a node has registered with it."""
    found, problem = _enrollment_of(code)
    if found is None or problem:
        return _text(problem + "\n", "text/plain", status=404 if found is None else 410)
    return _text(config_text(found, token_of_install_code(settings.MASTER_KEY, code)), "application/yaml")


@public
def newest(request: HttpRequest) -> HttpResponse:
    """Which agent is the newest, where it is, and its SHA-256."""
    current = agent_wheel()
    response = JsonResponse(
        {
            "version": current.version,
            "name": current.name,
            "url": f"{settings.BASE_URL}{reverse('install:wheel', args=[current.name])}",
            "sha256": current.sha256,
            "requires_python": current.requires_python,
        }
    )
    response["Cache-Control"] = "public, no-cache"
    return response


@public
def wheel(request: HttpRequest, name: str) -> HttpResponse:
    """The agent's wheel, under the name that its version gives it."""
    current = _wheel_named(name)
    response = HttpResponse(current.content, content_type="application/octet-stream")
    response["ETag"] = etag = quote_etag(current.sha256)
    response["Cache-Control"] = "public, no-cache"
    response["Content-Disposition"] = f'attachment; filename="{current.name}"'
    return get_conditional_response(request, etag=etag, response=response) or response


@public
def wheel_digest(request: HttpRequest, name: str) -> HttpResponse:
    """The wheel's SHA-256 as `sha256sum --check` reads it."""
    current = _wheel_named(name)
    return _text(f"{current.sha256}  {current.name}\n", "text/plain")


@public
def dockerfile(request: HttpRequest) -> HttpResponse:
    """The Dockerfile of the agent, which gets the wheel as a build argument."""
    return _text((SOURCE / "Dockerfile").read_text(encoding="utf-8"), "text/plain")


@public
def service(request: HttpRequest, name: str) -> HttpResponse:
    """A service file as a template: the script fills in the folder, the user and the user's home."""
    try:
        return _text(service_template(name), "text/plain")
    except KeyError as error:
        raise Http404 from error


def _wheel_named(name: str) -> Wheel:
    current = agent_wheel()
    if name != current.name:
        raise Http404
    return current


def _enrollment_of(code: str) -> tuple[Enrollment | None, str]:
    """The enrolment of an install code, and why the code does not hold, or ''."""
    found = Enrollment.objects.installable(code).first()
    now = timezone.now()
    if found is None:
        return None, "This install command is unknown."
    if found.ended_at is not None:
        return found, "This install command was revoked or replaced by a newer one."
    if found.install_expires_at is None or found.install_expires_at <= now:
        return found, "This install command has expired: it is valid for an hour."
    # once a node has registered, the script may still be run again on its machine
    if found.last_node_id is None and not Enrollment.objects.filter(pk=found.pk).good(now).exists():
        return found, "This install command was made by somebody who may no longer add nodes here."
    return found, ""


def _text(text: str, media_type: str, *, status: int = 200) -> HttpResponse:
    return HttpResponse(text, content_type=f"{media_type}; charset=utf-8", status=status)
