"""Entities and relations without an LLM. Runs in worker processes; models load there at first use."""
