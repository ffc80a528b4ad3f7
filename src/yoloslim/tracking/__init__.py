"""What came out: MLflow runs, plots and the report, all read from the files that the stages wrote."""
