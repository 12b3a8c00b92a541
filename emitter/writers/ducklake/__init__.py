"""DuckLake."""
