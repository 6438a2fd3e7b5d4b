"""The commands of `jatevo-agent`, each in its own module."""
