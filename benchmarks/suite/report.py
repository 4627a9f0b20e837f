"""One table of a run's results, for terminals and for the docs."""

from __future__ import annotations

import json
from typing import Any

from hosts import HERE

DOCS = HERE.parents[1] / "docs"
PAGE, CHART = DOCS / "performance.md", DOCS / "performance.svg"
KEPT = HERE.parent / "results.json"
BEGIN, END = "<!-- results: {} -->", "<!-- end -->"


def shown(value: float, unit: str) -> str:
    """Return a value with its unit, three digits or so."""
    if unit == "s":
        for scale, name in ((1, "s"), (1e-3, "ms"), (1e-6, "us")):
            if value >= scale or name == "us":
                return f"{_digits(value / scale)} {name}"
    if unit == "B" and value >= 1e4:
        return f"{_digits(value / 1e6)} MB"
    if unit == "x":
        return f"{_digits(value)}x"
    if unit == "/s":
        return f"{value:,.0f}/s"
    return f"{_digits(value)} {unit}".rstrip()


def _digits(value: float) -> str:
    size = abs(value)
    if size == int(size) and size < 1e6:
        return f"{value:.0f}"
    return f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.2f}"


def measure(row: dict[str, Any], name: str) -> tuple[float, str] | None:
    """Return what counts of a contender, in seconds or another unit."""
    if name in row["times"]:
        return row["times"][name][row["by"]], "s"
    if name in row["values"]:
        return row["values"][name]["value"], row["values"][name]["unit"]
    return None


def by_hand(row: dict[str, Any]) -> str | None:
    """Return the name of the fastest tool by hand."""
    names = [
        n for n in row["times"] if n not in ("peer", "floor") and not n.startswith(("bunter", "peer,")) and "," not in n
    ]
    return min(names, key=lambda name: row["times"][name][row["by"]], default=None)


HEAD = "work", "bunter", "by hand", "peer", "floor", "x floor", "peer / bunter", "target", "measured", "met"


def lines(results: dict[str, Any]) -> list[tuple[str, ...]]:
    """Return the rows of the table; a row with several targets has several lines."""
    table: list[tuple[str, ...]] = []
    for row in results["rows"]:
        work = row["work"] + (" (wall)" if row["by"] == "wall" and row["times"] else "")
        if row["failure"]:
            table.append((work, "failed", *[""] * 8))
            continue
        ours, floor, peer = (measure(row, name) for name in ("bunter", "floor", "peer"))
        tool = by_hand(row)
        hand = f"{shown(row['times'][tool][row['by']], 's')} ({tool})" if tool else ""
        ratios = [
            shown(ours[0] / floor[0], "x") if ours and floor else "",
            shown(peer[0] / ours[0], "x") if ours and peer else "",
        ]
        first = [work, *(shown(*each) if each else "" for each in (ours,)), hand]
        first += [shown(*each) if each else "" for each in (peer, floor)] + ratios
        goals = row["goals"] or [None]
        for number, goal in enumerate(goals):
            start = first if number == 0 else [""] * 7
            if goal is None:
                table.append((*start, "", "", ""))
                continue
            sign = ">=" if goal["least"] else "<="
            target = f"{goal['what']} {sign} {shown(goal['limit'], goal['unit'])}"
            table.append((*start, target, shown(goal["value"], goal["unit"]), "yes" if goal["met"] else "NO"))
    return table


def machine(results: dict[str, Any]) -> str:
    """Return one paragraph on machine and versions."""
    about = results["machine"]
    ours = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    others = "; ".join(
        f"{name}: " + ", ".join(f"{package} {version}" for package, version in found.items())
        for name, found in results["others"].items()
    )
    missing = "".join(f" Without {name}: {why}." for name, why in results["skipped"].items())
    return (
        f"{results['date']}, {results['size']} sizes, {about['cores']} cores of {about['cpu']}, "
        f"{about['memory_gib']} GiB, {about['system']}, {about['file_system']}; load at the end {about['load']:.1f}. "
        f"{ours}. {others}{'.' if others else ''}{missing}".rstrip()
    )


def printed(results: dict[str, Any]) -> str:
    """Return the table for a terminal."""
    table = [HEAD, *lines(results)]
    widths = [max(len(line[i]) for line in table) for i in range(len(HEAD))]
    text = []
    for number, line in enumerate(table):
        text.append("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
        if number == 0:
            text.append("  ".join("-" * width for width in widths))
    goals = [goal for row in results["rows"] for goal in row["goals"]]
    text += ["", f"{sum(goal['met'] for goal in goals)} of {len(goals)} targets met. CPU time unless marked (wall)."]
    for row in results["rows"]:
        if row["walk"]:
            walk = row["walk"]
            text.append(
                f"walk of {row['key']}: {walk['functions']} functions, {walk['calls']} calls, "
                f"{walk['selects']} SELECTs, {walk['commits']} commits"
            )
        for cost in row.get("costs", ()):
            text.append(f"cost of {row['key']}: {cost}")
    return "\n".join([*text, "", machine(results)])


def markdown(results: dict[str, Any]) -> str:
    """Return the table for the docs."""
    head = ("work", "Bunter", "by hand", "the peer", "floor", "/ floor", "peer /", "target", "measured", "met")
    table = [head, ("---",) * len(head), *lines(results)]
    body = "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in table)
    return f"![How many times the floor each takes]({CHART.name})\n\n{body}\n\n{machine(results)}"


def missed(results: dict[str, Any]) -> str:
    """Return a list of the targets that were missed, and by how much."""
    found = []
    for row in results["rows"]:
        for goal in row["goals"]:
            if not goal["met"]:
                ratio = goal["limit"] / goal["value"] if goal["least"] else goal["value"] / (goal["limit"] or 1)
                found.append(
                    f"- {row['work']}: {goal['what']} is {shown(goal['value'], goal['unit'])}, "
                    f"{_digits(ratio)} times the target of {shown(goal['limit'], goal['unit'])}."
                )
    return "\n".join(found) or "None."


def walks(results: dict[str, Any]) -> str:
    """Return the walks of warm calls, and the functions of the first of them."""
    table = [("work", "functions", "calls", "SELECTs", "commits"), ("---",) * 5]
    table += [
        (row["work"], *(str(row["walk"][key]) for key in ("functions", "calls", "selects", "commits")))
        for row in results["rows"]
        if row["walk"]
    ]
    text = "\n".join("| " + " | ".join(line) + " |" for line in table)
    first = next((row for row in results["rows"] if row["key"] == "get-json" and row["walk"]), None)
    if first is not None:
        names = ", ".join(f"`{name}`" for name in first["walk"]["names"])
        text += f"\n\nThe functions of one warm get of a small JSON file, in their order: {names}."
    return text


def numbers(results: dict[str, Any]) -> str:
    """Return everything that was measured, with what was done for it."""
    text = []
    for row in results["rows"]:
        what = [
            f"{name} {shown(times['cpu'], 's')} CPU, {shown(times['wall'], 's')} wall"
            for name, times in row["times"].items()
        ]
        what += [f"{name} {shown(each['value'], each['unit'])}" for name, each in row["values"].items()]
        notes = " ".join(f"{note[0].upper()}{note[1:]}." for note in (row["sizes"], *row["notes"]) if note)
        text.append(f"- **{row['work']}**: {'; '.join(what)}. {notes}".rstrip())
    return "\n".join(text)


SECTIONS = {"table": markdown, "missed": missed, "walks": walks, "numbers": numbers}


def write_docs(results: dict[str, Any]) -> None:
    """Write results between the marks of the page, with its chart; keep them beside the suite."""
    from chart import draw

    if not draw(results, CHART):
        raise SystemExit("no chart without matplotlib: pip install 'bunter[demo]'")
    text = PAGE.read_text("utf-8")
    for name, make in SECTIONS.items():
        begin = BEGIN.format(name)
        before, _, rest = text.partition(begin)
        if not rest:
            raise SystemExit(f"{PAGE.name} has no mark {begin}")
        text = f"{before}{begin}\n{make(results)}\n{END}{rest.partition(END)[2]}"
    PAGE.write_text(text, "utf-8")
    KEPT.write_text(json.dumps(results, indent=1) + "\n")
