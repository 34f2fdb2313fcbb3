"""Soaks: every kind of fault has its turn, and the figures come onto the page as they are."""

from __future__ import annotations

import json

from tests.faults.evidence import Verdict
from tests.faults.faults import Happened
from tests.faults.publish import markdown, page_with
from tests.faults.report import Options, Report
from tests.faults.schedule import KINDS
from tests.faults.soak import SCHEDULES, options_of
from tests.faults.total import Total


def test_what_nobody_has_had_comes_first() -> None:
    rounds = [options_of(Options(), number, KINDS[5:]) for number in range(len(SCHEDULES))]

    asked = {each.schedule: each.only for each in rounds}
    assert asked["single"] == asked["pauses"] == KINDS[5:]
    assert asked["pairs"] == asked["quiet"] == ()


def test_rounds_differ_in_seed_schedule_workers_and_disk() -> None:
    rounds = [options_of(Options(seed=7), number, ()) for number in range(30)]

    assert [each.seed for each in rounds] == list(range(7, 37))
    assert {each.schedule for each in rounds} == set(SCHEDULES)
    assert {each.workers for each in rounds} == {1, 2}
    assert any(each.schedule == "single" and each.has_small_disk for each in rounds)


def total() -> Total:
    verdict = Verdict()
    verdict.counts.update({"acknowledged": 1234, "query results": 56_789})
    verdict.wrong("something")
    report = Report(Options(), verdict, counts={"open": 12}, work_s=60.0, converged_s=[0.25])
    report.happened = [Happened("kill-node", 1.0, 2.0, 0), Happened("roll", 3.0, 4.0, None)]
    report.stalls = [("kill-node", 0.125)]
    report.latencies_s.extend([0.001, 0.002, 0.003])
    found = Total()
    found.add(report)
    found.add(report)
    found.failed.append("--seed 1")
    return found


def test_rounds_are_added_up() -> None:
    found = json.loads(json.dumps(total().to_json("soak", "soak")))

    assert (found["rounds"], found["workS"], found["anomalies"]) == (2, 120, 2)
    assert found["checks"]["acknowledged"] == 2468
    assert found["faults"]["kill-node"] == {"times": 2, "othersPausedS": 0.125}
    assert found["latencyS"] == {"p50": 0.002, "p99": 0.003, "max": 0.003}
    assert "kill-node" not in found["missing"]
    assert "kill-postgres" in found["missing"]


def test_figures_are_on_the_page_as_they_are() -> None:
    shown = markdown(total().to_json("soak", "soak"))

    assert "| Acknowledged mutations | 2,468 |" in shown
    assert "| kill-node | 2 | 0.12 s |" in shown
    assert "| roll | 2 | - |" in shown
    assert "| **Anomalies** | **2** |" in shown
    assert "* Found something: `--seed 1`" in shown
    assert "Not had: " in shown


def test_only_the_section_of_a_report_is_made_anew() -> None:
    other = "b\n<!-- churn -->\nkept\n<!-- /churn -->\n"
    page = f"a\n<!-- soak -->\nbefore the soak\n<!-- /soak -->\n{other}"
    made = page_with(page, {"soak": total().to_json("soak", "soak")})

    assert made.startswith("a\n<!-- soak -->\n`soak`, ")
    assert "before the soak" not in made
    assert made.endswith(f"<!-- /soak -->\n{other}")
    assert page_with(made, {"soak": total().to_json("soak", "soak")}) == made
