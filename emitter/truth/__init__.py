"""What should be there, and how what is there differs from it."""
