"""nbval takes a cell without an execution count for one that was never run, and the notebooks are stored without counts
(nbdev_clean)."""


def pytest_collection_modifyitems(items):
    for item in items:
        cell = getattr(item, "cell", None)
        if cell is not None and cell.get("cell_type") == "code" and cell.execution_count is None:
            cell.execution_count = 0
