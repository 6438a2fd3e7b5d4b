"""What travels between agents, validators and the console: canonical bytes, signatures and field rules.

One copy of these rules serves two programs. The console imports it as `jatevo.wire`; the agent's
package holds it as `jatevo_agent.wire`. It therefore imports nothing of either, only PyNaCl, rfc8785
and the standard library, and every import inside it is relative.
"""
