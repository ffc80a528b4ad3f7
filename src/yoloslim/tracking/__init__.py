"""MLflow, which follows the results."""
