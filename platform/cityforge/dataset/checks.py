"""Great Expectations over the frames and labels of a snapshot, with its Data Docs kept."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from cityforge.cards.dataset import Dataset
from cityforge.errors import CheckFailed
from cityforge.tables import REJECTED, read_table


@dataclass(frozen=True)
class Finding:
    """One check that was not met."""

    check: str
    expected: str
    found: str


def check_tables(card: Dataset, frames: pa.Table, labels: pa.Table, out: Path) -> list[Finding]:
    """Run every check of the card; write `checks.json` and Data Docs into `out`.

    Args:
        frames: table FRAMES, the labelled frames only.
        labels: table LABELS of those frames.

    Returns:
        What was not met; empty when all is well.
    """
    import great_expectations as gx

    context = gx.get_context(mode="file", project_root_dir=out)
    context.variables.progress_bars = {"globally": False}
    frame_table = frames.select(["frame_id", "width", "height", "brightness"]).to_pandas()
    boxes = _boxes_with_sizes(frames, labels)
    findings: list[Finding] = []
    record: dict[str, Any] = {}
    for name, table, expectations in (
        ("frames", frame_table, _frame_expectations(gx, card)),
        ("labels", boxes, _label_expectations(gx, card)),
    ):
        result = _run(gx, context, name, table, expectations)
        record[name] = result.to_json_dict()
        findings += [_finding(name, each) for each in result.results if not each.success]
    context.build_data_docs()
    (out / "checks.json").write_text(
        json.dumps(record, indent=1, ensure_ascii=False), encoding="utf-8"
    )
    return findings


def too_many_rejected(card: Dataset, labels: pa.Table, rejected: Path) -> list[Finding]:
    """Hold the share of imported rows that were refused against the card.

    Args:
        rejected: file of table REJECTED; none means none.
    """
    count = read_table(REJECTED, rejected).num_rows if rejected.is_file() else 0
    share = count / max(1, count + labels.num_rows)
    if share <= card.checks.max_rejected_share:
        return []
    expected = f"at most {card.checks.max_rejected_share:.0%} of imported rows refused"
    return [Finding("labels.rejected", expected, f"{share:.0%} ({count} rows)")]


def refuse(card: Dataset, findings: list[Finding]) -> None:
    """Raise for the first finding, with the count of all.

    Raises:
        CheckFailed: there is one.
    """
    if not findings:
        return
    more = f" (and {len(findings) - 1} more)" if len(findings) > 1 else ""
    first = findings[0]
    raise CheckFailed(
        first.expected,
        found=first.found + more,
        where=f"dataset '{card.name}', check {first.check}",
        do=f"cityforge dataset check {card.name} lists them all",
    )


def _boxes_with_sizes(frames: pa.Table, labels: pa.Table) -> Any:
    boxes = labels.to_pandas().dropna(subset=["class"])
    sizes = frames.select(["frame_id", "width", "height"]).to_pandas()
    joined = boxes.merge(sizes, on="frame_id", how="left")
    of_frame = joined["task"] == "classification"  # it fills its frame
    joined.loc[of_frame, ["x1", "y1"]] = 0.0
    joined.loc[of_frame, "x2"] = joined["width"]
    joined.loc[of_frame, "y2"] = joined["height"]
    joined["box_width"] = joined["x2"] - joined["x1"]
    joined["box_height"] = joined["y2"] - joined["y1"]
    joined["right_gap"] = joined["width"] - joined["x2"]
    joined["bottom_gap"] = joined["height"] - joined["y2"]
    joined.loc[joined["task"] == "density", ["box_width", "box_height"]] = None  # points
    columns = ["label_id", "frame_id", "class", "x1", "y1", "box_width", "box_height"]
    return joined[[*columns, "right_gap", "bottom_gap"]]


def _frame_expectations(gx: Any, card: Dataset) -> list[Any]:
    expect = gx.expectations
    return [
        expect.ExpectTableRowCountToBeBetween(min_value=card.checks.min_frames),
        expect.ExpectColumnValuesToBeUnique(column="frame_id"),
        expect.ExpectColumnValuesToBeBetween(column="width", min_value=16),
        expect.ExpectColumnValuesToBeBetween(column="height", min_value=16),
    ]


def _label_expectations(gx: Any, card: Dataset) -> list[Any]:
    expect = gx.expectations
    smallest = card.checks.min_box_px
    found: list[Any] = [
        expect.ExpectColumnValuesToBeUnique(column="label_id"),
        expect.ExpectColumnValuesToBeInSet(column="class", value_set=card.class_names),
        expect.ExpectColumnValuesToNotBeNull(column="right_gap"),
        expect.ExpectColumnValuesToBeBetween(column="x1", min_value=0),
        expect.ExpectColumnValuesToBeBetween(column="y1", min_value=0),
        expect.ExpectColumnValuesToBeBetween(column="right_gap", min_value=0),
        expect.ExpectColumnValuesToBeBetween(column="bottom_gap", min_value=0),
        expect.ExpectColumnValuesToBeBetween(column="box_width", min_value=smallest, mostly=0.99),
        expect.ExpectColumnValuesToBeBetween(column="box_height", min_value=smallest, mostly=0.99),
    ]
    for name in card.class_names:
        found.append(
            expect.ExpectTableRowCountToBeBetween(
                min_value=card.checks.min_boxes_per_class,
                row_condition=expect.row_conditions.Column("class") == name,
            )
        )
    return found


def _run(gx: Any, context: Any, name: str, table: Any, expectations: list[Any]) -> Any:
    source = context.data_sources.add_or_update_pandas(name)
    asset = source.add_dataframe_asset(name)
    batch = asset.add_batch_definition_whole_dataframe("whole")
    suite = context.suites.add_or_update(gx.ExpectationSuite(name, expectations=expectations))
    definition = context.validation_definitions.add_or_update(
        gx.ValidationDefinition(name=name, data=batch, suite=suite)
    )
    checkpoint = context.checkpoints.add_or_update(
        gx.Checkpoint(
            name=name,
            validation_definitions=[definition],
            actions=[gx.checkpoint.UpdateDataDocsAction(name="docs")],
        )
    )
    outcome = checkpoint.run(batch_parameters={"dataframe": table})
    return next(iter(outcome.run_results.values()))


def _finding(table: str, result: Any) -> Finding:
    config = result.expectation_config
    kwargs = {k: v for k, v in config.kwargs.items() if k != "batch_id"}
    column = kwargs.get("column", "")
    seen = result.result
    found = seen.get("observed_value")
    if found is None:
        examples = seen.get("partial_unexpected_list", [])[:3]
        found = f"{seen.get('unexpected_count', '?')} rows such as {examples}"
    bounds = ", ".join(
        f"{key} {value}"
        for key, value in kwargs.items()
        if key in ("min_value", "max_value", "value_set", "row_condition") and value is not None
    )
    return Finding(f"{table}.{column or 'rows'}", f"{config.type} ({bounds})", str(found))
