"""The payout run: who is eligible and who is not, marking ready, the second admin, export files, returns."""
