"""Which particles touch, where and how much, and how densely they lie."""
