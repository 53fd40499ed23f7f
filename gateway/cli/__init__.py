"""The `onsale` command."""
