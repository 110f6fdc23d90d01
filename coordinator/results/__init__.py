"""Results of batches: how they are kept, read, compared. Runs nothing.

`open_results(DIR)` is the way in for whoever reads them:

    with open_results(Path("results/locks")) as results:
        for point in results.points("policy == 'inline' and harts <= 8"):
            print(point.parameters["lock"], point.metrics["operations_per_s"])
"""

from coordinator.results.read import BatchPoint, Results, ResultsError, open_results
from coordinator.results.record import CheckRecord, HartRecord, PointRecord, Status, VmRecord

__all__ = [
    "BatchPoint",
    "CheckRecord",
    "HartRecord",
    "PointRecord",
    "Results",
    "ResultsError",
    "Status",
    "VmRecord",
    "open_results",
]
