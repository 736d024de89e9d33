"""Where rows come from: tables that people send, and the observations that are kept."""
