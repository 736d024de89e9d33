"""Every error has its place in the HTTP table."""

from app import errors
from app.wire.problems import KINDS, kind_of

NOT_OVER_HTTP = {"NameTaken", "Overtaken"}


def test_every_error_has_an_entry_of_its_own() -> None:
    """Each class of the tree is in the table, so that a new one cannot be forgotten."""
    named = {kind.__name__ for kind in KINDS}
    assert set(errors.subclasses()) - NOT_OVER_HTTP == named


def test_codes_are_unique() -> None:
    """No two classes share a code, and a service's fault is 503."""
    codes = [kind.code for kind in KINDS.values()]
    assert len(codes) == len(set(codes))
    assert kind_of(errors.NotReady("x")).status == 503


def test_the_drawing_shows_the_tree() -> None:
    """The drawing at the top of app/errors.py names every class below its parent."""
    drawn = errors.__doc__ or ""
    for name in errors.subclasses():
        assert name in drawn or name in NOT_OVER_HTTP
