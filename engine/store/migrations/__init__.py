"""How the schema came about; see `engine.store.migrate`."""
