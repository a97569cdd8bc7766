"""What a person asked for, done once: one job per file, each over the owner's parts."""
