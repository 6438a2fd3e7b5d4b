"""The moment up to which ClickHouse has all facts.

The outbox is shipped oldest first. If a fact is waiting there, later facts may be missing in ClickHouse too,
because the worker is down, ClickHouse was unreachable, or shipping takes its usual second. Figures from
ClickHouse are computed as of that moment, so that they are correct, though older.
"""

from datetime import datetime

from django.db import connection

# Both parts use a partial index: the first row in order of ids, and the batches being shipped.
_OLDEST = """
SELECT min(created_at) FROM (
    (SELECT created_at FROM metrics_outbox WHERE batch IS NULL AND poisoned IS NULL ORDER BY id LIMIT 1)
    UNION ALL
    SELECT created_at FROM metrics_outbox WHERE batch IS NOT NULL AND poisoned IS NULL
) AS waiting
"""


def complete_until(*, at: datetime) -> datetime:
    """The moment, `at` or before, up to which every fact has reached ClickHouse. One query.

    Call it before querying ClickHouse. Facts that arrive in between are harmless.
    """
    with connection.cursor() as cursor:
        cursor.execute(_OLDEST)
        ((oldest,),) = cursor.fetchall()
    return at if oldest is None else min(oldest, at)
