"""Ports: what the routes need of the engine and the replica, so that tests can hand in something smaller."""

from typing import Protocol

from api.answers import Answer, Request
from api.columns import Columns
from api.engine import Hit
from models.items import ItemRow
from models.surfaces import Config
from models.users import User
from streams.slates import Slate


class Replica(Protocol):
    """The tables as this process holds them."""

    @property
    def columns(self) -> Columns:
        """The items, column by column."""

    @property
    def ready(self) -> bool:
        """Whether the replica has caught up with the changelogs since it started."""

    def user(self, user_id: str) -> User | None:
        """Return a row of `users`."""

    def item(self, item_id: str) -> ItemRow | None:
        """Return a row of `items`."""

    def lag(self) -> int:
        """Return how many records have not been read."""

    def staleness_ms(self) -> float:
        """Return the age of what is shown."""


class Engine(Protocol):
    """What makes lists."""

    config: Config

    def recommend(self, request: Request) -> Answer:
        """Return a list for someone."""

    def cached(self, request: Request) -> Hit | None:
        """Return a list that is ready to be sent, or None."""

    def similar(
        self,
        item_id: str,
        n: int = 20,
        *,
        at: int,
        categories: tuple[str, ...] = (),
        context: dict[str, str] | None = None,
        exclude: tuple[str, ...] = (),
        surface: str = "item",
        explain: bool = False,
    ) -> Answer:
        """Return what goes with an item."""

    def popular(
        self,
        n: int = 20,
        surface: str = "home",
        category: str = "",
        context: dict[str, str] | None = None,
        *,
        at: int,
    ) -> Answer:
        """Return what is popular."""

    def slate(self, served: Answer | Hit) -> Slate:
        """Return what to log of an answer."""
