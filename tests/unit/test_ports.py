"""A connection whose socket we cannot reach is written to by its owner, frame by frame."""

from __future__ import annotations

from parley.engine.ports import NoPort
from tests.support.rig import Rig
from tests.support.tables import note
from tests.unit.test_cohort import cohorts, crowd


def test_a_connection_without_a_port_is_written_to_by_its_owner_alone() -> None:
    rig = Rig()
    clients = crowd(rig)
    clients[0].port.on_other_use()
    clients[0].worker.attach(NoPort())

    for number in (2, 3):
        rig.write(note(number))
        rig.run()

    assert cohorts(*clients) == [2, 1]
    assert len(clients[0].worker.outbox) == 2
