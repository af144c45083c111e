"""What people compare runs with: MLflow's UI, and a table of recipes."""
