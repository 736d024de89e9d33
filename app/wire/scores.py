"""Scores as answers: computed from what is stored, for the service and for a store without one."""

from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from app.errors import FieldError, InvalidInput
from app.serving.groups import KEYS, Basis, Group, Key, Scores
from app.serving.scores import scores
from app.store.registry import Registry
from app.wire.schemas import ScoredGroup, ScorePage, UncountedPairs

if TYPE_CHECKING:
    from app.data.observations import Observations
    from app.model.scored import Scored

FEW_ROWS = 5_000
"""Rows that are scored in a thread, which takes a tenth of a second; more are in a helper process."""
THEM: dict[Basis, str] = {"forecast": "the forecasts", "arrival": "the predictions"}
"""What was right or not, in a verdict."""


def keys(by: str | None) -> tuple[Key, ...]:
    """Return the keys that a text names, with commas between them.

    Raises:
        InvalidInput: it names something else.
    """
    names = [name.strip() for name in (by or "").split(",") if name.strip()]
    unknown = [name for name in names if name not in KEYS]
    if unknown:
        message = f"there is no {unknown[0][:40]!r} to group by: name some of {', '.join(KEYS)}"
        raise InvalidInput(f"query.by: {message}", [FieldError(("query", "by"), message, "invalid")])
    return tuple(key for key in KEYS if key in names)


def page(registry: Registry, observations: "Observations", basis: Basis, by: Sequence[Key]) -> ScorePage:
    """Score all that is stored.

    Raises:
        InvalidInput: there are too many groups.
        StoreDamaged, StoreTooNew, StoreUnavailable: what is stored cannot be read.
    """
    return _page(scores(registry, observations, basis, by))


def state(observations: "Observations") -> tuple[int, ...]:
    """Return what changes whenever the scores of forecasts may.

    Raises:
        StoreDamaged, StoreUnavailable: what is stored cannot be read.
    """
    with observations.reading() as transaction:
        return transaction.state_of_forecasts()


def written(registry: Registry, observations: "Observations", basis: Basis, by: Sequence[Key]) -> bytes:
    """Return `page` as JSON; keys that are not asked for are not in it."""
    content: str = page(registry, observations, basis, by).model_dump_json(exclude_unset=True)
    return content.encode()


def written_if_few(registry: Registry, observations: "Observations", basis: Basis, by: Sequence[Key]) -> bytes | None:
    """Return `written`, None where there are so many rows that it takes long."""
    with observations.reading() as transaction:
        if transaction.to_score(basis) > FEW_ROWS:
            return None
    return written(registry, observations, basis, by)


def written_at(_body: bytes, registry: Registry, database: str, basis: Basis, by: Sequence[Key]) -> tuple[bytes, None]:
    """Return `written`, in a process that has no connection yet."""
    from app.data.observations import Observations  # noqa: PLC0415 - SQLAlchemy is imported when it is first needed

    with closing(Observations(database)) as observations:
        return written(registry, observations, basis, by), None


def _page(found: Scores) -> ScorePage:
    groups = [_group(found, group, scored) for group, scored in found.scored()]
    return ScorePage(
        basis=found.basis, by=list(found.by), scores=groups, left_out=UncountedPairs(**asdict(found.left_out))
    )


def _group(found: Scores, group: Group, scored: "Scored") -> ScoredGroup:
    told: dict[str, Any] = dict(zip(found.by, group.values, strict=True))
    told |= {"crop": group.crop, "set_aside": group.set_aside}
    figures = asdict(scored)
    figures["weather_by_feature"] = figures.pop("by_weather")
    return ScoredGroup(
        **told, **figures, ambiguous=found.ambiguous.get(group, 0), verdict=scored.verdict(THEM[found.basis])
    )
