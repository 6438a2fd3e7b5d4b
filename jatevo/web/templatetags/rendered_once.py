"""Components whose HTML follows from their arguments alone. Each is rendered once, then kept by this process.

A page has hundreds of chips, icons and notes, and the same ones again on every poll. To render one takes a tenth of a
millisecond, to find it again a hundredth of that.
"""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, ParamSpec

from django.conf import settings
from django.template.loader import render_to_string
from django.utils.safestring import SafeString

P = ParamSpec("P")


def rendered_once(
    template: str, *, most: int = 512
) -> Callable[[Callable[P, dict[str, Any]]], Callable[P, SafeString]]:
    """Decorates the function that prepares the context of the template; the result renders it.

    The template may use nothing but that context, and the arguments must be hashable. At most `most` renderings are
    kept. Text that is safe HTML and text that is not are different arguments, so that one is never taken for the
    other; that holds for the arguments themselves, not for what is inside them. With DEBUG nothing is kept, so that a
    changed template is seen at once.
    """

    def decorate(prepare: Callable[P, dict[str, Any]]) -> Callable[P, SafeString]:
        def render(*args: P.args, **kwargs: P.kwargs) -> SafeString:
            return render_to_string(template, prepare(*args, **kwargs))

        kept = lru_cache(maxsize=most, typed=True)(render)

        @wraps(prepare)
        def found(*args: P.args, **kwargs: P.kwargs) -> SafeString:
            return render(*args, **kwargs) if settings.DEBUG else kept(*args, **kwargs)  # type: ignore[arg-type]  # hashable, as said

        return found

    return decorate
