"""Orchard: crop yields from region weather, with how far to trust each number."""
