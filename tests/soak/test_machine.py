"""A few short sequences at each commit; `make soak` runs many long ones."""

import os

import pytest
from hypothesis import HealthCheck, Phase, settings

from soak.machine import Backups

EXAMPLES = int(os.environ.get("SOAK_EXAMPLES", "5"))
STEPS = int(os.environ.get("SOAK_STEPS", "10"))

Backups.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    derandomize="SOAK_EXAMPLES" not in os.environ,
    print_blob=True,
    # A sequence of real backups shrinks for minutes; the one found is told as it is.
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
test_whatever_happens_in_whatever_order_no_snapshot_is_lost_and_none_is_wrong = pytest.mark.timeout(
    max(120, 60 * EXAMPLES)
)(Backups.TestCase)
