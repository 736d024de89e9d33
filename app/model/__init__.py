"""The mathematics: no I/O, no HTTP."""
