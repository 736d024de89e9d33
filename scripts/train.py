"""Train a model and write it to the model store: the same as ``orchard train``, options and all."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.cli.commands import main

if __name__ == "__main__":
    sys.argv.insert(1, "train")
    main()
