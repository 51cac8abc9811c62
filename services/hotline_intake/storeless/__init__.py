"""Living without a store: what is kept in the journal, rung from memory, and learnt later."""
