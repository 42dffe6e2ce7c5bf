"""An API that is played by a few lines, for simulated users to live with."""

import json

import httpx
import msgspec
import numpy as np

from models.verdict import Report
from ops.simulate.browse import PLACES
from streams.experiments import Decision, Definition, Record


class Api:
    """Answers with what `ranks` says of a person, best first; remembers what it was told.

    It runs one experiment: even people are in the control. It is over at the `stops`-th look at it, and its report
    gives the verdict it is told to.
    """

    def __init__(self, ranks, verdict="open", stops=1_000_000):
        self.ranks, self.events, self.items, self.asked = ranks, [], {}, 0
        self.busy = False
        self.tried, self.units, self.verdict, self.looks = None, {}, verdict, stops

    def __call__(self, request):
        path = request.url.path
        if "/experiments/" in path:
            return httpx.Response(200, content=msgspec.json.encode(self.experiment(request, path)))
        if request.method == "POST":
            if self.busy:
                self.busy = False
                return httpx.Response(503)
            said = json.loads(request.content)
            assert 1 <= len(said) <= 500
            if path == "/v1/items":
                self.items |= {one["item_id"]: one for one in said}
            else:
                self.events += said
            return httpx.Response(202, json={"refused": []})
        if path.startswith("/v1/items/"):
            return httpx.Response(200 if path.rpartition("/")[2] in self.items else 404)
        self.asked += 1
        person, arms = int(path.rpartition("-")[2]), {}
        if self.tried is not None and self.tried.state == "running":
            control = self.tried.current.control
            arm = (
                control if person % 2 == 0 else next(one for one in self.tried.current.arms if one != control)
            )
            arms = {self.tried.key: arm}
            self.units.setdefault(arm, set()).add(person)
        merit = self.ranks(person, *arms.values())
        listed = [n for n in np.argsort(-merit, kind="stable") if f"thing-{n}" in self.items]
        answer = {
            "request_id": f"r{self.asked}",
            "user_id": "",
            "surface": "home",
            "rung": "full",
            "arms": arms,
            "items": [{"item_id": f"thing-{n}", "score": 1.0, "source": "ann"} for n in listed[:PLACES]],
        }
        return httpx.Response(200, json=answer)

    def experiment(self, request, path):
        if request.method == "PUT":
            said = msgspec.json.decode(request.content, type=Definition)
            self.tried = Record(key=said.key, versions=(said,), decided=(Decision("draft", 0),))
        elif path.endswith("/start"):
            self.decide(Decision("running", 1_000))
        elif path.endswith("/report"):
            return Report(
                experiment=self.tried.key, version=0, kind="ab", unit="user", state=self.tried.state, at=0,
                verdict=self.verdict, words="so it is", units={arm: len(one) for arm, one in self.units.items()},
            )  # fmt: skip
        else:
            self.looks -= 1
            if not self.looks:
                self.decide(Decision("stopped", 4_500, "clicks are worse", "guardrail"))
        return self.tried

    def decide(self, decision):
        decided = (*self.tried.decided, decision)
        self.tried = msgspec.structs.replace(self.tried, state=decision.state, decided=decided)
