"""Published ways to measure answers, one per file. `catalogue` names them and states the rules of each."""
