"""Plain Parquet files in hive partitions."""
