"""/v1/experiments/KEY/report: what is known of an experiment by now, for keys of scope admin."""

import asyncio

from api.calls import Call
from api.operations import Operation
from api.outcomes import sheets
from api.problems import Problem
from api.replies import Reply, as_json
from api.services import Services
from models.verdict import Report, judge
from streams.errors import Refused


def operations(services: Services) -> list[Operation]:
    """Return the operation."""

    async def report(call: Call) -> Reply:
        key = call.id("key")
        try:
            record = services.experiments.known.find(key)
        except Refused as refused:
            raise Problem(404, "not-found", str(refused)) from None
        rows = services.tables.outcomes(key)
        return as_json(await asyncio.to_thread(lambda: judge(record, sheets(rows), services.now())))

    return [
        Operation(
            method="GET", path="/v1/experiments/{key}/report", name="getReport", scope="admin", handler=report,
            answers={200: Report}, problems=(404,),
            summary="Judge an experiment by what is known now; asking often does no harm to the verdict.",
        ),
    ]  # fmt: skip
