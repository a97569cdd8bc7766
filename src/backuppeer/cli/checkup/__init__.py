"""The links of the chain that `doctor` looks at: what each says of itself, and what a finding is."""
