"""The cold routes: ordinary FastAPI. None of them knows Ray."""
