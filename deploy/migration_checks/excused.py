"""Migrations that break a rule, with the reason why each may.

Those up to 30 November 2026 are older than the rules, and what has been applied anywhere is not changed. A new
migration is rewritten or split. It is listed here only if that cannot be done.
"""

from collections.abc import Mapping
from typing import Final

_NEW_TABLE = "the table comes with this migration or was days old, so that it had next to no rows"
_SMALL = "the table has a few rows for each node, key or organisation, so the lock lasts milliseconds"
_TRIGGERS = "sums and the triggers that keep them begin at one moment: a row between them would be in neither"
_WAITS = "older than the retries of `manage.py migrate`: waits 5 s for its lock, and fails"
_MULTILINE = "the linter reads a CREATE TABLE over several lines as a change"
_DEFAULT = "with a default for the rows that are there, which the linter does not see"
_WIDER = "a longer varchar is a change of the catalogue only"
_METADATA = "a change of the catalogue only, under a lock that neither reads nor writes wait for"

EXCUSED: Final[Mapping[tuple[str, str], Mapping[str, str]]] = {
    ("earnings", "0002_guards"): {"DATA_WITH_SCHEMA": _NEW_TABLE},
    ("earnings", "0003_totals"): {"DATA_WITH_SCHEMA": _TRIGGERS, "LOCK_TIMEOUT": _WAITS},
    ("earnings", "0005_statements"): {"NOT_NULL": _DEFAULT},
    ("earnings", "0006_held_by_org"): {"CREATE_INDEX": _NEW_TABLE},
    ("earnings", "0008_open_balances"): {
        "CREATE_INDEX": _SMALL,
        "CREATE_INDEX_EXCLUSIVE": _SMALL,
        "DATA_WITH_SCHEMA": _TRIGGERS,
        "LOCK_TIMEOUT": _WAITS,
    },
    ("earnings", "0009_payment_of_payout"): {
        "CREATE_INDEX": _SMALL,
        "CREATE_INDEX_EXCLUSIVE": _SMALL,
        "LOCK_TIMEOUT": _WAITS,
    },
    ("earnings", "0011_held_totals"): {"DATA_WITH_SCHEMA": _TRIGGERS, "LOCK_TIMEOUT": _WAITS},
    ("earnings", "0012_verdicts_to_deliver"): {"LOCK_TIMEOUT": _WAITS},
    ("earnings", "0013_totals_over_days"): {"DATA_WITH_SCHEMA": _TRIGGERS, "LOCK_TIMEOUT": _WAITS},
    ("metrics", "0001_outbox"): {"CREATE_INDEX": _NEW_TABLE, "CREATE_INDEX_EXCLUSIVE": _NEW_TABLE},
    ("nodes", "0002_probe_once"): {"ADD_UNIQUE": _NEW_TABLE},
    ("nodes", "0006_pardons_and_clock"): {"CHECK_VALIDATED": _SMALL, "DROP_INDEX": _SMALL},
    ("nodes", "0011_false_answers"): {
        "CHECK_VALIDATED": "probes are kept for 30 days: they are read once",
        "NOT_ATOMIC": "its one constraint is added first, when nothing else has been done",
    },
    ("nodes", "0012_key_of_one_node"): {
        "ADD_UNIQUE": _SMALL,
        "CREATE_INDEX": _SMALL,
        "CREATE_INDEX_EXCLUSIVE": _SMALL,
        "DATA_WITH_SCHEMA": "no key may slip in between the flags and the constraint",
        "LOCK_TIMEOUT": _WAITS,
    },
    ("nodes", "0017_statements"): {"ALTER_COLUMN": _WIDER, "CHECK_VALIDATED": _SMALL},
    ("nodes", "0021_doubt_is_known"): {
        "CHECK_VALIDATED": _SMALL,
        "NOT_NULL": "filled by the migration before",
    },
    ("nodes", "0022_offers_behind"): {"CREATE_INDEX": _SMALL, "CREATE_INDEX_EXCLUSIVE": _SMALL},
    ("nodes", "0023_install_codes"): {"CHECK_VALIDATED": _SMALL},
    ("nodes", "0024_reachability_and_challenges"): {"CHECK_VALIDATED": _SMALL},
    ("nodes", "0025_heartbeats_in_place"): {"NOT_ATOMIC": _METADATA},
    ("overview", "0002_incidents_and_hours"): {"CHECK_VALIDATED": _SMALL, "NOT_NULL": _DEFAULT},
    ("overview", "0003_incidents_began"): {"CHECK_VALIDATED": _SMALL, "DATA_WITH_SCHEMA": _SMALL},
    ("overview", "0004_maintenance_called_off"): {"CHECK_VALIDATED": _SMALL},
    ("receipts", "0002_receipts"): {
        "DATA_WITH_SCHEMA": "makes the partitions of the table that comes with it",
        "NOT_NULL": _MULTILINE,
    },
    ("receipts", "0003_status_at_end"): {"LOCK_TIMEOUT": _WAITS},
    ("receipts", "0004_facts_for_earnings"): {"LOCK_TIMEOUT": _WAITS},
    ("receipts", "0008_refused_receipts"): {
        "ADD_UNIQUE": "forged receipts only until then: a few rows",
        "ALTER_COLUMN": _WIDER,
        "CHECK_VALIDATED": "forged receipts only until then: a few rows",
        "CREATE_INDEX": "forged receipts only until then: a few rows",
        "CREATE_INDEX_EXCLUSIVE": "forged receipts only until then: a few rows",
        "LOCK_TIMEOUT": _WAITS,
        "NOT_NULL": _DEFAULT,
        "RENAME_TABLE": "older than the rules: code of the release before knows the old name only",
    },
}
