"""Where tables and journal lie: a local disk, or an S3-compatible store."""
