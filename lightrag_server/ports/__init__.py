"""Interfaces between the engine and the outside. Narrow, async, batch only.

Three answers stay three everywhere: an unknown id is absent from the result, a known but empty one is
present and empty, and a backend that could not answer raises.
"""
