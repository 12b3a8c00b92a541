"""What verifies the tables now and then while a daemon runs, in a process beside it, and delays no batch."""
