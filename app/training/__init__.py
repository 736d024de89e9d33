"""One retrain as one transaction, and the process that it runs in."""
