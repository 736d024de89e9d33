"""``python -m app``: the orchard command."""

from app.cli.commands import main

if __name__ == "__main__":
    main()
