"""风险评估: what a counsellor's saved answers amount to, always with the rules that led there."""
