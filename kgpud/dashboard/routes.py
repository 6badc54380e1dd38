"""The one table of pages: where they are, and who may see them."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum, auto

from kgpud.dashboard import admin, entering, home, live, objects, pods, renting, usage
from kgpud.dashboard.visit import Answer, Visit


class Access(Enum):
    """Whom a page is for."""

    PUBLIC = auto()
    SIGNED_IN = auto()
    APPROVED = auto()
    MAINTAINER = auto()


@dataclass(frozen=True)
class PageRoute:
    """One page, or one thing that a form does."""

    method: str
    path: str
    handler: Callable[[Visit], Awaitable[Answer]]
    access: Access = Access.APPROVED


PAGES = (
    PageRoute("GET", "/", home.show, Access.PUBLIC),
    PageRoute("GET", "/sign-in", entering.choose, Access.PUBLIC),
    PageRoute("GET", "/sign-in/link/{secret}", entering.confirm_link, Access.PUBLIC),
    PageRoute("POST", "/sign-in/link", entering.by_link, Access.PUBLIC),
    PageRoute("GET", "/sign-in/provider", entering.to_provider, Access.PUBLIC),
    PageRoute("GET", "/sign-in/callback", entering.from_provider, Access.PUBLIC),
    PageRoute("POST", "/sign-out", entering.leave, Access.SIGNED_IN),
    PageRoute("GET", "/live", live.follow),
    PageRoute("GET", "/token", home.confirm_reissue),
    PageRoute("POST", "/token", home.reissue),
    PageRoute("GET", "/rent", renting.form),
    PageRoute("POST", "/rent", renting.rent),
    PageRoute("GET", "/pods", pods.index),
    PageRoute("GET", "/pods/{pod_id}", pods.show),
    PageRoute("GET", "/pods/{pod_id}/log", pods.log),
    PageRoute("GET", "/pods/{pod_id}/release", pods.confirm_release),
    PageRoute("POST", "/pods/{pod_id}/release", pods.release),
    PageRoute("GET", "/pods/{pod_id}/key", pods.choose_key),
    PageRoute("POST", "/pods/{pod_id}/key", pods.replace_key),
    PageRoute("GET", "/usage", usage.show),
    PageRoute("GET", "/usage.csv", usage.as_csv),
    PageRoute("GET", "/objects", objects.index),
    PageRoute("POST", "/objects", objects.create),
    PageRoute("GET", "/objects/{object_id}", objects.show),
    PageRoute("GET", "/objects/{object_id}/delete", objects.confirm_delete),
    PageRoute("POST", "/objects/{object_id}/delete", objects.delete),
    PageRoute("GET", "/admin", admin.people, Access.MAINTAINER),
    PageRoute("GET", "/admin/fleet", admin.fleet, Access.MAINTAINER),
    PageRoute("GET", "/admin/rentals", admin.rentals, Access.MAINTAINER),
    PageRoute("GET", "/admin/audit", admin.audit, Access.MAINTAINER),
    PageRoute("GET", "/admin/people/{user}", admin.person, Access.MAINTAINER),
    PageRoute("POST", "/admin/people/{user}", admin.decide, Access.MAINTAINER),
    PageRoute("GET", "/admin/rentals/{pod_id}/release", admin.confirm_release, Access.MAINTAINER),
    PageRoute("POST", "/admin/rentals/{pod_id}/release", admin.release, Access.MAINTAINER),
)
