"""The organisations in an answer, wherever it has put them, and the objects beside them that speak of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.replay.hsds.nodes import Node, local_id
from app.replay.hsds.text import first

WRAPPERS = (
    "schema",
    "data",
    "payload",
    "hsds_organization",
    "hsds",
    "hsds_data",
    "result",
    "response",
    "output",
    "json",
)
NAMES = ("name", "organization_name", "org_name")
_INNER = ("organization", "organizations", "organisation", "organisations")
_MAX_WRAPPERS = 4
_MAX_ORGANIZATIONS = 1000


@dataclass(frozen=True, slots=True)
class Scope:
    """An organisation with all the objects whose lists are about it."""

    organization: Node
    name: str
    beside: tuple[Node, ...] = ()
    service: Node | None = None
    """The object around the organisation, where that has a name of its own: it is a service."""

    @property
    def containers(self) -> tuple[Node, ...]:
        """Where its parts stand."""
        return (self.organization, *self.beside)


def scopes_of(answer: Any) -> tuple[list[Scope], str]:
    """The organisations of an answer, and a word for its shape."""
    wrappers: list[str] = []
    while len(wrappers) < _MAX_WRAPPERS and (name := _wrapper(answer)):
        wrappers.append(name)
        answer = answer[name]
    if isinstance(answer, list):
        found = [_in_object(part) for part in answer[:_MAX_ORGANIZATIONS] if isinstance(part, dict)]
        scopes, shape = [scope for some, _ in found for scope in some], "list"
    else:
        scopes, shape = _in_object(answer) if isinstance(answer, dict) else ([], "other")
    return scopes, ":".join(("wrapped", *wrappers, shape)) if wrappers else shape


def _wrapper(answer: Any) -> str | None:
    if not isinstance(answer, dict) or first(answer, NAMES) or any(answer.get(name) for name in _INNER):
        return None
    return next((name for name in WRAPPERS if isinstance(answer.get(name), dict | list) and answer[name]), None)


def _in_object(node: Node) -> tuple[list[Scope], str]:
    inner = next((name for name in _INNER if _named(node.get(name))), None)
    if inner is None:
        name = first(node, NAMES)
        return ([Scope(node, name)] if name else []), "bare"
    named = _named(node[inner])
    around = {key: value for key, value in node.items() if key != inner}
    service = around if first(node, ("name",)) else None
    if len(named) == 1:
        return [Scope(named[0], first(named[0], NAMES) or "", (around,), service)], inner
    return _shared_out(named, around), inner


def _named(value: Any) -> list[Node]:
    parts = value[:_MAX_ORGANIZATIONS] if isinstance(value, list) else [value]
    return [part for part in parts if isinstance(part, dict) and first(part, NAMES)]


def _shared_out(organizations: list[Node], around: Node) -> list[Scope]:
    """Give each organisation the parts beside it that name it; the first one has those that name none."""
    ids = [local_id(organization) for organization in organizations]
    beside: list[Node] = [{} for _ in organizations]
    for key, value in around.items():
        listed = [value] if isinstance(value, dict) else value
        if not isinstance(listed, list):
            continue
        for part in listed:
            owner = local_id(part, "organization_id") if isinstance(part, dict) else None
            beside[ids.index(owner) if owner in ids else 0].setdefault(key, []).append(part)
    return [
        Scope(organization, first(organization, NAMES) or "", (rest,))
        for organization, rest in zip(organizations, beside, strict=True)
    ]
