"""What the agent asks a runtime besides completions: its models, their digests, and how text is tokenised."""
