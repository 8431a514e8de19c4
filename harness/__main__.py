"""``python -m harness`` is ``lockstep``."""

from harness.cli import main

if __name__ == "__main__":
    main()
