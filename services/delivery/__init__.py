"""Subscriptions and webhooks: from a signal to the partner's endpoint."""
