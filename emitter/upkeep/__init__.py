"""Upkeep beside the appends: what keeps tables as quick after weeks as on the first day."""
