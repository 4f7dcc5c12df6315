"""Networks: the model bundle, its architecture, the device it runs on, and the ensemble that predicts."""
