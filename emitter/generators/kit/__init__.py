"""What domains stand on: counts and keys, populations and picks, chains and choices, free of any domain."""
