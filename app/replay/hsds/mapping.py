"""A recording to rows: its envelope, its answer, and each organisation of that with all that belongs to it."""

from __future__ import annotations

from typing import Any

from app.replay.hsds.answer import NotAnAnswerError, read_answer
from app.replay.hsds.assembly import add_scope
from app.replay.hsds.envelope import Envelope, read_envelope
from app.replay.hsds.nodes import local_id
from app.replay.hsds.organizations import link_parent, organization_id
from app.replay.hsds.rows import Mapped
from app.replay.hsds.shape import scopes_of
from app.replay.hsds.sheet import Sheet

VERSION: int = 1
"""Of the rules: what was mapped by others is mapped again."""


def map_recording(recording: object) -> Mapped:
    """What a recorded result comes to: its verdict, its rows, and what was set aside. Never raises."""
    envelope = read_envelope(recording)
    if envelope.reason:
        return _mapped(envelope, envelope.reason)
    try:
        answer, mode = read_answer(envelope.result)
    except NotAnAnswerError:
        return _mapped(envelope, "result_not_json")
    scopes, shape = scopes_of(answer)
    if not scopes:
        return _mapped(envelope, "no_organization", parse_mode=mode, shape=shape)
    sheet = Sheet()
    scraper, source = str(envelope.scraper_id), envelope.source
    ids = {own: organization_id(scraper, each.name) for each in scopes if (own := local_id(each.organization))}
    basis: dict[str, int] = {}
    for scope in scopes:
        key = add_scope(sheet, scraper, scope, source, basis)
        link_parent(sheet, scope.organization, key, ids)
    return _mapped(
        envelope,
        None,
        parse_mode=mode,
        shape=shape,
        source_key=source.key(scraper, envelope.content_hash, str(envelope.job_id)),
        rows=sheet.rows(),
        notes=sheet.notes,
        link_basis=basis,
    )


def _mapped(envelope: Envelope, reason: str | None, **fields: Any) -> Mapped:
    return Mapped(
        envelope.job_id,
        envelope.scraper_id,
        envelope.created_at,
        envelope.completed_at,
        envelope.content_hash,
        reason,
        input=envelope.input,
        **fields,
    )
