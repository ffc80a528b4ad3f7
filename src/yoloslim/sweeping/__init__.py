"""The search for the optimal pruning point: pure, knows nothing of DVC, Prefect or MLflow."""
