"""Programs beside a command: local Prefect server, its API, watcher of an inbox; in `stack` all of `ps3d up`."""
