"""What every service shares: the language they speak (contract) and the machine that runs them (kernel)."""
