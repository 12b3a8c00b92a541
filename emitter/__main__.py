"""`python -m emitter` is the command `emitter`."""

from emitter.cli.entry import main

if __name__ == "__main__":
    main()
