"""What the process of every actor has in it."""

import subprocess
import sys


def test_an_owner_does_not_import_what_draws_papers_and_keeps_books():
    """It would take two seconds longer to start, and twice the memory."""
    heavy = {"sqlalchemy", "alembic", "fpdf", "fontTools", "jinja2", "apprise", "fastapi"}
    code = "import sys, actors.declare; print(*{name.partition('.')[0] for name in sys.modules})"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    imported = set(told.stdout.split())
    assert "redis" in imported
    assert not heavy & imported
