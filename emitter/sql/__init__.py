"""SQL over a run's tables as they are: DuckDB, which reads them and nothing else happens to them."""
