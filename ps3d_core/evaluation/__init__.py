"""How well predicted particles agree with true ones."""
