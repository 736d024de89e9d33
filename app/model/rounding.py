"""Numbers in sentences."""


def rounded(number: float) -> str:
    """Return a number as people write it: four significant digits, no exponent up to a thousand million."""
    return f"{float(f'{number:.4g}'):,.10g}"
