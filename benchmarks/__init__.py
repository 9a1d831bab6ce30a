"""What trioshell costs next to its peers: `scripts/bench` runs it, docs/performance.md shows it."""
