"""prefect.yaml: work pools, queues, deployments and schedules. `flows.stack.bootstrap` brings it to a server."""
