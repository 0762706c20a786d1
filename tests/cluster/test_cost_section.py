"""The report's cost section: by role and arm, and what is not known is said."""

from pathlib import Path

from cluster.call_log import FILE, Again, Asked, CallLog, Ended
from cluster.cost import RoleCost, percentile, rows_of
from cluster.cost_section import NOT_KNOWN, cost_table
from cluster.findings import Arm
from cluster.record import Record

ONE = [Arm("{}", "all trials", 0)]


def record(folder: Path, *trials: dict[str, object]) -> Record:
    return Record(folder, {}, {}, trials, None, None, ())


def written(folder: Path, *lines: Asked | Ended | Again, trial: int = 0) -> None:
    log = CallLog(folder / "trials" / f"{trial:03d}" / FILE)
    for line in lines:
        log.append(line)
    log.close()


def answered(role: str = "judge", cost_usd: float | None = 0.5, total_s: float = 1.0) -> list[Asked | Ended]:
    key, agent = "k", f"{role}/0"
    ended = Ended(
        key, agent, role, prompt_tokens=1000, completion_tokens=200, cached_tokens=600, cost_usd=cost_usd,
        charged_tokens=1200, queue_s=0.25, total_s=total_s,
    )  # fmt: skip
    return [Asked(key, agent, role), ended]


def texts(folder: Path, arms: list[Arm] = ONE, *trials: dict[str, object]) -> tuple[list[list[str]], str]:
    found = cost_table(record(folder, *(trials or ({"trial": 0},))), arms)
    assert found is not None
    return [[cell.text for cell in row] for row in found.table.rows], " ".join(found.notes)


def test_each_role_has_a_row_and_all_together_one(tmp_path: Path) -> None:
    again = Again("k", "voter/0", "voter")
    written(tmp_path, *answered("judge"), *answered("voter", total_s=3.0), *answered("voter"), again)
    rows, notes = texts(tmp_path)
    assert [row[0] for row in rows] == ["judge", "voter", "all"]
    assert rows[1][1:] == ["2", "1", "2,000", "1,200", "400", "1", "1 s / 3 s", "250 ms / 250 ms"]
    assert rows[2][1] == "3"
    assert NOT_KNOWN not in str(rows) + notes


def test_a_price_that_is_not_known_is_said_to_be(tmp_path: Path) -> None:
    written(tmp_path, *answered("judge"), *answered("judge", None))
    rows, notes = texts(tmp_path)
    assert rows[0][6] == NOT_KNOWN
    assert "give it as model.price" in notes


def test_free_is_another_thing_than_not_known(tmp_path: Path) -> None:
    written(tmp_path, *answered("judge", 0.0))
    assert texts(tmp_path)[0][0][6] == "0"


def test_calls_without_an_answer_and_what_they_are_charged_are_told(tmp_path: Path) -> None:
    lost = Ended("k", "judge/0", "judge", outcome="lost", charged_tokens=700)
    written(tmp_path, *answered(), Asked("k", "judge/0", "judge", 700), lost)
    rows, notes = texts(tmp_path)
    assert rows[0][1] == "2"
    assert "Calls without an answer: lost 1." in notes
    assert "700 tokens more against budgets" in notes


def test_arms_are_not_pooled(tmp_path: Path) -> None:
    for trial in (0, 1, 2):
        written(tmp_path, *answered(), trial=trial)
    arms = [Arm('{"model":"a"}', "model = a", 0), Arm('{"model":"b"}', "model = b", 1)]
    trials = [{"trial": number, "arm": {"model": "ab"[number > 0]}} for number in range(3)]
    rows, _ = texts(tmp_path, arms, *trials)
    assert [row[:3] for row in rows] == [["model = a", "judge", "1"], ["model = b", "judge", "2"]]


def test_a_ledger_that_is_spoilt_is_named_and_the_rest_is_shown(tmp_path: Path) -> None:
    written(tmp_path, *answered())
    written(tmp_path, *answered(), trial=1)
    with (tmp_path / "trials" / "001" / FILE).open("a") as file:
        file.write("spoilt\n")
    rows, notes = texts(tmp_path, ONE, {"trial": 0}, {"trial": 1})
    assert rows[0][1] == "2"
    assert "The calls of trial 1 cannot be read in full" in notes


def test_a_run_without_a_model_has_no_cost(tmp_path: Path) -> None:
    assert cost_table(record(tmp_path, {"trial": 0}), ONE) is None
    assert rows_of({}, 1.0) == []


def test_measures_are_of_all_roles_and_of_each_and_leave_out_what_is_not_known() -> None:
    costs = {"a": RoleCost(), "b": RoleCost()}
    for role, cost in costs.items():
        for line in answered(role, None if role == "b" else 0.5):
            cost.add(line)
    rows = {row.measure: row for row in rows_of(costs, 9.0)}
    assert rows["model_tokens"].mean == 2400
    assert rows["model_money_usd_a"].mean == 0.5
    assert "model_money_usd" not in rows
    assert (rows["model_queue_s"].count, rows["model_queue_s"].mean, rows["model_queue_s"].now) == (
        2,
        0.25,
        9.0,
    )


def test_percentiles_are_by_nearest_rank() -> None:
    values = [float(number) for number in range(100, 0, -1)]
    assert percentile(values, 0.5) == 50
    assert percentile(values, 0.99) == 99
    assert percentile([7.0], 0.99) == 7
