"""Adapters to databases and files. Reached through `registry` only."""
