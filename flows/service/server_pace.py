"""How often the local Prefect server looks for work of its own: as seldom as does no harm.

Prefect's defaults serve a busy server of many. Each of its services asks the database every few seconds, and together
they take more than half of what a stack takes that has nothing to do. Runs start and end as quickly as before: workers
and runs ask the server, and none of these services is in their way.
"""

from __future__ import annotations

from typing import Final

_SERVICES: Final = "PREFECT_SERVER_SERVICES"

CALM: Final = {
    # Runs of a schedule that was changed appear a minute later.
    f"{_SERVICES}_SCHEDULER_RECENT_DEPLOYMENTS_LOOP_SECONDS": "60",
    # A run is called late 15 seconds after its time; to see it half a minute later is soon enough.
    f"{_SERVICES}_LATE_RUNS_LOOP_SECONDS": "30",
    # Nothing of ours pauses, takes leases of minutes, or runs on infrastructure that has to be cleaned up.
    f"{_SERVICES}_PAUSE_EXPIRATIONS_LOOP_SECONDS": "60",
    f"{_SERVICES}_REPOSSESSOR_LOOP_SECONDS": "60",
    f"{_SERVICES}_CLEANUP_RECONCILER_LOOP_SECONDS": "60",
    # Marks workers, queues and deployments that were not heard of for a minute.
    f"{_SERVICES}_FOREMAN_LOOP_SECONDS": "30",
}
