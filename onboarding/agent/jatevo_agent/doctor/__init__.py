"""`jatevo-agent doctor`: checks everything that keeps a node from serving, and says what to do about it."""
