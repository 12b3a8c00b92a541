"""What people and machines see of a run: observers, metrics, logs, health, the page."""
