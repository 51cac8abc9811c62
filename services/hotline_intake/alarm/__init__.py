"""人工告警: the ledger of a call, pure: which desks are waited for, and whom their silence rings."""
