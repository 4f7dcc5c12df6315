"""What runs the work: steps that are done once, and blocks that are done anywhere."""
