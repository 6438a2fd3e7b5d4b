"""What agents, validators and the console exchange: canonical bytes, signatures and field rules.

Two programs share these rules. The console imports them as `jatevo.wire`, and the agent's package
contains a copy as `jatevo_agent.wire`. So this package imports only PyNaCl, rfc8785 and the standard
library, and its imports of its own modules are relative.
"""
