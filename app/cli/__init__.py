"""The `orchard` command."""
