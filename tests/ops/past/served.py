"""An API in memory for tests of the past: it answers from the state of a world and logs what it served."""

import msgspec

from api.answers import Request
from models.surfaces import load
from ops.past.engine import NONE, Moment, Then, engine_of
from ops.past.replay import replay
from ops.state.scratch import Scratch
from streams import slates
from streams.partition import partition_of
from streams.slates import Asked


class Served:
    """What the API logs: `ask` answers from the very state of now and writes the slate down."""

    def __init__(self, world, on, folder, config=None, known=NONE):
        self._world, self._on, self._folder, self._config = world, on, folder, config or load()
        self._known = known
        self._scratch, self._engine, self._asked_at = None, None, 0
        self.count = 0

    def ask(self, user="", **values):
        world = self._world
        if self._asked_at != world.now:
            self.close()
            folder, self._asked_at = self._folder / str(world.now), world.now
            replay(self._on, world.now, folder)
            self._scratch = Scratch(folder, self._on.identity)
            then = Then(self._scratch, world.settings)
            then.settle(world.now - 1)
            self._engine = engine_of(then.state, self._config, Moment(self._known, world.now))
        self.count += 1
        engine, request_id, asked = self._engine, f"request-{self.count}", Asked(**{"n": 8, **values})
        if asked.operation == "similar":
            answer = engine.similar(asked.beside, asked.n, at=world.now, request_id=request_id)
        elif asked.operation == "popular":
            answer = engine.popular(asked.n, at=world.now, request_id=request_id)
        else:
            answer = engine.recommend(
                Request(
                    at=world.now, user_id=user, n=asked.n, categories=asked.categories,
                    context=asked.context, exclude=asked.exclude, request_id=request_id,
                )
            )  # fmt: skip
        slate = msgspec.structs.replace(engine.slate(answer), asked=asked)
        self.log(slate)
        return slate

    def close(self):
        if self._scratch is not None:
            self._scratch.close()

    def log(self, slate):
        world = self._world
        number = partition_of(slate.user_id or slate.request_id, world.settings.partitions)
        world.log.append(
            "slates", number, slate.user_id.encode() or None, slates.encode(slate), world.now + 50
        )
