"""The parts that `ps3d up` keeps running beside the Prefect server: S3 server, deployments, workers."""
