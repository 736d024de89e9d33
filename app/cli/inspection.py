"""A look at all that is stored, for what is not what was written."""

from collections.abc import Iterator
from dataclasses import dataclass

from app.data.integrity import database_fault
from app.data.observations import Observations
from app.errors import OrchardError
from app.settings import Settings
from app.store.objects import open_store
from app.store.registry import Registry


@dataclass(frozen=True, slots=True)
class Inspection:
    """``looked_at``: how many of each kind of thing; ``faults``: a sentence for each that is not what was written."""

    looked_at: dict[str, int]
    faults: list[str]


def inspect(settings: Settings) -> Inspection:
    """Look at every version, line, batch, row and answer.

    Raises:
        StoreUnavailable: the store or the database cannot be read.
    """
    registry = Registry(open_store(settings))
    versions, log = registry.versions(), registry.log()
    named = {line.version: line.sha256 for line in reversed(log.lines)}
    faults = [*log.damage, *_faults_of_versions(registry, versions, named)]
    batches = 0
    if fault := database_fault(settings.database, wholly=True):
        faults.append(fault)
    observations = Observations(settings.database)
    try:
        with observations.reading() as transaction:
            found = list(transaction.faults())
            batches = transaction.count()
        faults += found
    except OrchardError as error:
        faults.append(error.detail)
    finally:
        observations.close()
    return Inspection({"versions": len(versions), "lines of the log": len(log.lines), "batches": batches}, faults)


def _faults_of_versions(registry: Registry, versions: list[int], named: dict[str, str]) -> Iterator[str]:
    """``named``: each version that was live, and what the log says of its file."""
    for version in sorted({*map(str, versions), *named}, key=int):
        try:
            registry.read(version, named.get(version))
            registry.read(version)
        except OrchardError as error:
            yield error.detail
