"""What runs: the journal, what is due, the loop that makes and commits it."""
