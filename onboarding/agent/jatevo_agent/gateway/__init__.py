"""The agent's listener: an OpenAI-compatible proxy in front of the runtime, and the health endpoint."""
