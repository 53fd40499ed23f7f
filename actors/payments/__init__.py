"""Payments: the only part of the product that speaks to Stripe."""
