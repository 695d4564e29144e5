"""Whether what a workspace holds fits together, and what puts it right. Speaks to ports only."""
