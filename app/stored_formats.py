"""The formats of what is stored: a number in each version's file, in each line of the log, and one in the database.

What is stored is read tolerantly (unknown fields are ignored, what was added later has a default) and written strictly.
So a field that is added with a default needs no new number: it goes up where an older program would misread what is
stored. What an earlier program has stored is read as it is (files) or brought up to date (the database, step by step:
`app.data.stored`).

Versions: 1: version 0.1.0, which wrote no number. 2: as 1. 3: with effects of regions and seasons, or a record, which
earlier programs would predict without, or with a feature that is absent from a crop's rows, which they would ask for; a
version that has none is still written as 2.

Lines of the log: 1: version 0.1.0. 2: with a digest, the hash of the line before, and an idempotency key.

Database: 1: version 0.1.0, which wrote no number. 2: checksums of rows, batches and answers; trainings under way;
restored batches. 3: who has withdrawn or restored a batch. 4: the rows of a batch by region and season. 5: what a
batch's yields were predicted as before they were known. 6: rows may lack a feature (NULL), and so may their moments
and cells. 7: forecasts; observations may say which one they are the outcome of, and when they were harvested. 8: what
runs of batches add up to, which goes when a batch of the run is withdrawn: earlier programs would leave it.
"""

from app.errors import StoreTooNew

VERSION = 3
PLAIN_VERSION = 2
LINE = 2
DATABASE = 8


def check_format(number: object, newest: int, what: str) -> None:
    """Check that this program can read a format.

    Raises:
        StoreTooNew: it is above ``newest``; the message names ``what`` was read.
        ValueError: it is not the number of a format.
    """
    if not isinstance(number, int) or number < 1:
        raise ValueError(f"{number!r} is not a format")
    if number > newest:
        raise StoreTooNew(
            f"{what} was written by a newer version of Orchard (format {number}; this one reads up to {newest}): "
            "install that version, or a newer one"
        )
