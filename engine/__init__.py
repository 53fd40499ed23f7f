"""The rules of an on-sale and the stores behind them; knows nothing of Ray or HTTP."""
