"""The payments of payouts so far, from the movements that name both."""

from django.db import migrations

PAYMENTS_SO_FAR = """
UPDATE earnings_payout p SET payment_id = going.payment_id
FROM (SELECT DISTINCT payout_id, payment_id FROM earnings_movement
      WHERE kind = 'export' AND payout_id IS NOT NULL AND payment_id IS NOT NULL) AS going
WHERE p.id = going.payout_id AND p.payment_id IS NULL
"""


class Migration(migrations.Migration):
    dependencies = [("earnings", "0009_payment_of_payout")]

    operations = [migrations.RunSQL(PAYMENTS_SO_FAR, migrations.RunSQL.noop)]
