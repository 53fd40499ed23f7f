"""A benchmark as Markdown: the whole of it, and the part that the README shows."""

from loadtests.bench import grids
from loadtests.bench.document import Document
from loadtests.bench.grids import Grid
from loadtests.bench.rounds import DURABLE


def page(kept: Document) -> str:
    """Return everything."""
    tables = map(_table, grids.all_of(kept))
    absent = [f"Not measured: {name} ({why})." for name, why in kept.found.absent.items()]
    return "\n\n".join(["# Benchmark", circumstances(kept), *tables, *absent]) + "\n"


def section(kept: Document) -> str:
    """Return the README's part: everybody's rates, load beyond the knee, and the targets."""
    found = kept.found
    rates = grids.rates(found, max(kept.plan.connections))
    shown = [
        Grid(rates.columns, [_strong(row) for row in rates.rows]),
        grids.paced(found),
        grids.at_once(found),
        grids.against_targets(kept),
    ]
    return "\n\n".join([circumstances(kept), *map(_table, shown)])


def circumstances(kept: Document) -> str:
    """Return where and how this was measured, in a sentence or two."""
    machine = kept.machine
    return (
        f"{kept.at[:10]}, one run, {machine['cores_usable']} cores ({machine['cpu']}), Python "
        f"{machine['python']}; everything on this machine, store: {kept.found.durability}. "
        f"Ratios of the first table are medians of those of {kept.plan.rounds} interleaved rounds."
    )


def _strong(row: list[str]) -> list[str]:
    if row[0] != DURABLE:
        return row
    return [f"**{cell}**" if cell else "" for cell in row]


def _table(grid: Grid) -> str:
    aligned = ["---", *["---:" if len(grid.columns) > 2 else "---"] * (len(grid.columns) - 1)]
    lines = [grid.columns, aligned, *grid.rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
