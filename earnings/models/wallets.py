"""Wallets: where an organisation, or one of its nodes, is paid. Rows are kept as history."""

from django.db import models
from django.db.models.functions import Now

from jatevo.accounts.models import Org
from nodes.models import Node


class Chain(models.TextChoices):
    SOLANA = "solana", "Solana"
    EVM = "evm", "EVM"


class WalletState(models.TextChoices):
    PROPOSED = "proposed", "Proposed"  # by an agent, or awaiting its owner
    CONFIRMED = "confirmed", "Confirmed"
    REPLACED = "replaced", "Replaced"
    STOPPED = "stopped", "Stopped"  # a member of the organisation stopped the change


class Wallet(models.Model):
    """An address of an organisation or, with `node`, of one node. At most one of each is confirmed.

    `payouts_from` is when payouts to it may begin. A member who stops a change makes the former wallet hold
    again, as a new row.
    """

    id = models.BigAutoField(primary_key=True)
    org = models.ForeignKey(Org, on_delete=models.PROTECT, related_name="wallets")
    node = models.ForeignKey(Node, on_delete=models.PROTECT, null=True, blank=True, related_name="wallets")
    chain = models.CharField(max_length=8, choices=Chain.choices)
    address = models.CharField(max_length=64)
    state = models.CharField(max_length=10, choices=WalletState.choices)
    set_at = models.DateTimeField(db_default=Now())
    set_by = models.CharField(max_length=320)
    network_address = models.CharField(
        max_length=64, blank=True, help_text="the address that the change came from"
    )
    confirmed_at = models.DateTimeField(null=True)
    confirmed_by = models.CharField(max_length=320, blank=True)
    payouts_from = models.DateTimeField(null=True)
    ended_at = models.DateTimeField(null=True)
    ended_by = models.CharField(max_length=320, blank=True)
    reason = models.CharField(max_length=300, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["org", "node"], name="wallet_by_owner")]
        constraints = [
            models.UniqueConstraint(
                fields=["org", "node"],
                condition=models.Q(state="confirmed"),
                nulls_distinct=False,
                name="wallet_one_confirmed",
            ),
            models.CheckConstraint(condition=models.Q(chain__in=Chain.values), name="wallet_chain_known"),
            models.CheckConstraint(
                condition=models.Q(state__in=WalletState.values), name="wallet_state_known"
            ),
            models.CheckConstraint(
                condition=~models.Q(state="confirmed")
                | models.Q(confirmed_at__isnull=False, payouts_from__isnull=False, ended_at__isnull=True),
                name="wallet_confirmed_has_dates",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.chain} {self.address}"
