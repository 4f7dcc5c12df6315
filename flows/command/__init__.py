"""The `ps3d` command line: its door, arguments, terminal, and a module for each command (see `commands`)."""
