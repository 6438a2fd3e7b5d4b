"""How long proofs are kept: as long as the challenges by which nodes behind NAT are asked for them."""

from jatevo.metrics.retention_policy import RetentionRule, old_rows, register
from onboarding.models import Proof

register(RetentionRule("onboarding_proof", "probes", old_rows(Proof, "asked_at")))
