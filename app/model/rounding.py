"""Numbers in sentences."""

DIGITS, ALL_DIGITS = 6, 17


def rounded(number: float) -> str:
    """Return a number as people write it: four significant digits, no exponent up to a thousand million."""
    return f"{float(f'{number:.4g}'):,.10g}"


def new_rows(count: int, sent: int | None = None) -> str:
    """Return how many rows are new, and how many of them were ``sent`` with this call where that is not all of them."""
    said = f"{count} new row{'s' * (count != 1)}"
    if sent is None or sent >= count:
        return said
    return f"{said} ({sent} sent now, {count - sent} stored before)" if sent else f"{said} (stored before)"


def told_apart(*numbers: float) -> list[str]:
    """Return numbers with six significant digits, or with as many as it takes for different ones to look different."""
    for digits in range(DIGITS, ALL_DIGITS):
        texts = [f"{number:.{digits}g}" for number in numbers]
        if len(set(texts)) == len(set(numbers)):
            return texts
    return [f"{number:.{ALL_DIGITS}g}" for number in numbers]
