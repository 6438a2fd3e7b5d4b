"""Times the worker's jobs over the whole fleet and prints the seconds as JSON: `python -m bench.inside`.

Each job runs three times, and the median counts. Nothing else may use the stores.
"""

import json
import os
import time
from collections.abc import Callable
from datetime import timedelta

REPEATS = 3


def middle_seconds(work: Callable[[], object]) -> float:
    seconds = []
    for _ in range(REPEATS):
        begun = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - begun)
    return sorted(seconds)[REPEATS // 2]


def main() -> None:
    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "jatevo.settings")
    django.setup()
    from django.utils import timezone

    from jatevo.metrics.models import ChangedHour
    from jatevo.overview.summariser import summarise, take_census
    from nodes.actions import recompute
    from nodes.figures import refresh_standings
    from nodes.models import Node
    from nodes.sweeper import sweep

    def sum_up_an_hour() -> None:
        at = timezone.now()
        hour = at.replace(minute=0, second=0, microsecond=0) - timedelta(hours=2)
        ChangedHour.objects.all().delete()  # so that only this hour is summed up
        ChangedHour.objects.create(hour=hour)
        summarise(at=at)

    print(
        json.dumps(
            {
                "nodes": str(Node.objects.count()),
                "all reputations, s": f"{middle_seconds(lambda: recompute(at=timezone.now())):.2f}",
                "all standings, s": f"{middle_seconds(lambda: refresh_standings(at=timezone.now())):.2f}",
                "an hour summed up, s": f"{middle_seconds(sum_up_an_hour):.2f}",
                "a census, s": f"{middle_seconds(lambda: take_census(at=timezone.now())):.2f}",
                "a sweep, s": f"{middle_seconds(lambda: sweep(at=timezone.now())):.2f}",
            }
        )
    )


if __name__ == "__main__":
    main()
