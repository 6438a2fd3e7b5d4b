"""An app with the migrations of a release to come, which change the busiest tables as CONTRIBUTING.md says."""
