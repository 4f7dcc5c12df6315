"""How far a result can be trusted: of each particle, and of a scan."""
