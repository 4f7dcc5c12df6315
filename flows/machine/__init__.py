"""What a program needs of its machine: a folder of its own, locks, streams, a log, an end that is never late."""
