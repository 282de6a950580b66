"""`python -m privaudit`."""

from privaudit.cli import main

if __name__ == "__main__":
    main()
