"""What docs/reliability.md shows: every fault tried, and a service that works for long."""

from __future__ import annotations
