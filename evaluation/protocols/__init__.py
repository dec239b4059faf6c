"""Published evaluation protocols, one per file. `catalogue` names them and states the rules of each."""
