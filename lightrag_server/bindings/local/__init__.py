"""Models that run on this machine, with no network and no key."""
