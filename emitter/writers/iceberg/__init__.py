"""Apache Iceberg."""

from emitter.writers.iceberg import library as library  # before any of pyiceberg's modules asks for its configuration
