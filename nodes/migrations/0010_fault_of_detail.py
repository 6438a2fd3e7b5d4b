"""The faults of probes from before they had any, from their details, for the last time that these decide anything.

Until now an audit whose detail did not say that the node was out of reach convicted it, and that stands: it is a wrong
answer. Any other failed probe without known words was unreachable, as the contract has it. Quarantines for a failed
audit keep their fault in their evidence, where it is looked for when an exemption is declared later.
"""

from django.db import migrations

_FAULT = """CASE
    WHEN {detail} LIKE 'wrong signature%' THEN 'bad_signature'
    WHEN {detail} LIKE 'wrong node id%' OR {detail} LIKE 'wrong nonce%' THEN 'bad_answer'
    WHEN {detail} LIKE 'timeout%' THEN 'timeout'
    WHEN {detail} LIKE 'connection refused%' THEN 'refused'
    WHEN {detail} LIKE 'status is not 200%' OR {detail} LIKE 'answer is %' THEN 'bad_status'
    WHEN {detail} LIKE 'connection %' OR {detail} LIKE 'endpoint %' OR {detail} LIKE 'TLS failed%' THEN 'unreachable'
    WHEN {audit} THEN 'bad_answer'
    ELSE 'unreachable' END"""
_OF_PROBES = f"""
UPDATE nodes_probe SET fault = CASE WHEN ok THEN '' ELSE {_FAULT.format(detail="detail", audit="kind = 'audit'")} END
WHERE counts_as = '';
UPDATE nodes_probe SET counts_as = CASE
    WHEN kind = 'audit' AND fault NOT IN ('', 'bad_answer', 'bad_signature', 'wrong_output') THEN 'health'
    ELSE kind END
WHERE counts_as = '';
"""  # noqa: S608 - constants
_OF_QUARANTINES = f"""
UPDATE nodes_nodetransition SET evidence = evidence || jsonb_build_object('fault', {
    _FAULT.format(detail="COALESCE(evidence->>'detail', '')", audit="true")
})
WHERE reason = 'audit_failed' AND NOT evidence ? 'fault';
"""  # noqa: S608 - constants


class Migration(migrations.Migration):
    dependencies = [("nodes", "0009_probe_fault")]
    operations = [migrations.RunSQL([(_OF_PROBES, None), (_OF_QUARANTINES, None)], migrations.RunSQL.noop)]
