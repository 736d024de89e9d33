"""The model that is being served."""
