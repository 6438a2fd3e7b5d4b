"""Up to when ClickHouse has it all.

The outbox is drained oldest first, so a fact that waits there says of everything younger that it may be missing too:
because the worker is down, because ClickHouse was away and has not caught up, or for the second that shipping takes.
Whoever draws a figure from ClickHouse draws it as of that moment, and then it is right, if old.
"""

from datetime import datetime

from django.db import connection

# Both halves are answered by their partial index: the first row in the order of ids, and the batches under way.
_OLDEST = """
SELECT min(created_at) FROM (
    (SELECT created_at FROM metrics_outbox WHERE batch IS NULL AND poisoned IS NULL ORDER BY id LIMIT 1)
    UNION ALL
    SELECT created_at FROM metrics_outbox WHERE batch IS NOT NULL AND poisoned IS NULL
) AS waiting
"""


def complete_until(*, at: datetime) -> datetime:
    """The moment, `at` or before, up to which every fact has reached ClickHouse. One query.

    To be asked before ClickHouse is: what arrives in between does no harm.
    """
    with connection.cursor() as cursor:
        cursor.execute(_OLDEST)
        ((oldest,),) = cursor.fetchall()
    return at if oldest is None else min(oldest, at)
