"""The command line, the outermost."""
