"""Command-line tools of propeller."""
