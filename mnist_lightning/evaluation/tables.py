"""Tables on the console."""

from rich.console import Console
from rich.table import Table


def print_table(table: Table, min_width: int) -> None:
    """Print a table at least `min_width` characters wide, so that its cells are not cut in a pipe either."""
    console = Console()
    console.width = max(console.width, min_width)
    console.print(table)
