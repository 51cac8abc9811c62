"""热线接听: takes the call, keeps what the counsellor records, and rings a human when nobody answers for it."""
