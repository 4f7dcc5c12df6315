"""prefect.yaml: work pools, queues, deployments and schedules; `flows.service.stack.bootstrap` registers it."""
