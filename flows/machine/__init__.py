"""Services of the machine for a program: a folder of its own, locks, streams, a log, an end that is never late."""
