"""GET /access: what the caller may do, which a program asks before it offers anything to a person."""

from fastapi import APIRouter, Request

from app.api.guards import Credentials, require_reader
from app.api.openapi.parts import ALSO_WITHOUT, documented
from app.api.services import ServicesDep
from app.wire.schemas import Access

router = APIRouter(tags=["health"])


@router.get("/access", summary="What the caller may do", responses=documented(), openapi_extra=ALSO_WITHOUT)
def access(request: Request, services: ServicesDep, credentials: Credentials) -> Access:
    """Say what may be done with the token sent, or without one.

    Without a token this is answered where reading is closed, too: it tells no more than that one is needed. A wrong
    token is a 401, and counted like all wrong ones.
    """
    can_train, is_open = services.trainer.can_train, services.tokens.reading_is_open
    if credentials is None:
        return Access(who=None, read=is_open, rows=False, write=False, retrain=can_train)
    require_reader(request, services, credentials)
    who = services.tokens.writer(credentials.credentials)
    return Access(who=who, read=True, rows=True, write=who is not None, retrain=can_train)
