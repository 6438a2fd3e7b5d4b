"""Monthly statements: what an organisation was owed, what moved, and for which work. Stored once they are final."""
