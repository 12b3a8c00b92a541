"""Apache Iceberg."""

from emitter.writers.iceberg import library as library  # before any of pyiceberg's modules asks for its configuration
from emitter.writers.iceberg import reading as reading  # before any of its Avro files is read
