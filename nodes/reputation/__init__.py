"""A node's reputation: the formula, the evidence for it, and the stored days."""
