"""`python -m emitter` is the command `emitter`."""

from emitter.cli import main

if __name__ == "__main__":
    main()
