"""``python -m lockstep`` is ``lockstep``."""

from lockstep.harness.cli.main import main

if __name__ == "__main__":
    main()
