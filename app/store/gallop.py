"""The last of numbers that follow each other, found with few looks."""

from collections.abc import Callable


def last_of(is_there: Callable[[int], bool], known: int = 0) -> int:
    """Return the largest number that is there, of those that follow ``known`` without a gap.

    Looks at the numbers 1, 3, 7, … behind the one that is known, until one is not there, then halves what is left: 2
    looks for each doubling, where a list would take the longer, the more there are. Where numbers are missing, it is
    one of those that are there and have no next one.
    """
    last, step = known, 1
    while is_there(last + step):
        last += step
        step *= 2
    beyond = last + step
    while beyond - last > 1:
        middle = (last + beyond) // 2
        if is_there(middle):
            last = middle
        else:
            beyond = middle
    return last
